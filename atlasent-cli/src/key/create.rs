//! `atlasent key create`: creates an API key and prints it on standard output.

use std::time::Duration;

use atlasent::text::quoted;
use atlasent_authority::approvals::Approver;
use atlasent_authority::duration::parse_positive_duration;
use atlasent_authority::keys::{ApiKey, ApiScope, DEFAULT_RATE_LIMIT, KeyEnvironment};
use atlasent_authority::store::OrgId;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::store::KeyStore;
use crate::exit::Failure;
use crate::location::{Location, Place};
use crate::org::{self, OrgStore};
use crate::output::{self, Output, Reader};

/// Create an API key and print it, once
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key create --name deploy-service
  atlasent key create --org acme
  atlasent key create --approver alice --role release-manager
  atlasent key create --environment live --scope evaluate --scope verify --ttl 90d --cidr 10.0.0.0/8 --rate 6000

Scopes: evaluate, verify, revoke, permits.read, stop, audit.read, audit.export, approve, store.backup. The key of an
approver has the scope approve and by default, in place of all others, permits.read and audit.read.

Standard output gets the key only: `ATLASENT_API_KEY=$(atlasent key create)`. Standard error gets its id, for
`key revoke`. Only a hash of the key is stored, so it cannot be printed again."
)]
pub(super) struct Create {
    /// The id of the organization of the key, which `org create` has created [default: local]
    #[arg(long, value_name = "ID", value_parser = org::parse_id)]
    org: Option<OrgId>,

    /// A description of the key, shown by `key list` [default: no name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The environment: approvers see only requests made in it
    #[arg(long, value_name = "ENVIRONMENT", default_value = "test")]
    environment: EnvironmentArg,

    /// A scope of the list below; repeatable [default: all but approve and store.backup]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<ApiScope>,

    /// The person whose votes the key casts on what policies hold, as in `user:NAME` of a policy
    /// [default: none]
    #[arg(long, value_name = "NAME")]
    approver: Option<String>,

    /// A role of the approver, as in `role:ROLE` of a policy; repeatable [default: no role]
    #[arg(long = "role", value_name = "ROLE", requires = "approver")]
    roles: Vec<String>,

    /// The lifetime of the key, such as 90d or 7776000 (seconds) [default: unlimited]
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    ttl: Option<Duration>,

    /// A network that may use the key, such as 10.0.0.0/8; repeatable [default: any network]
    #[arg(long = "cidr", value_name = "CIDR", value_parser = cidr)]
    cidrs: Vec<IpNet>,

    /// The rate limit of the key, in calls per minute
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE_LIMIT, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,

    #[command(flatten)]
    location: Location,
}

#[derive(Clone, Copy, ValueEnum)]
enum EnvironmentArg {
    Live,
    Test,
}

fn scope(word: &str) -> Result<ApiScope, String> {
    word.parse()
        .map_err(|error: atlasent_authority::keys::UnknownApiScope| error.to_string())
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let host = text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or(host).map_err(|_| {
        format!(
            "invalid network {}: write it as in `10.0.0.0/8`",
            quoted(text)
        )
    })
}

/// Creates the key, stores its hash and prints it.
pub(super) async fn run(arguments: &Create) -> Result<Output, Failure> {
    let environment = match arguments.environment {
        EnvironmentArg::Live => KeyEnvironment::Live,
        EnvironmentArg::Test => KeyEnvironment::Test,
    };
    let (mut key, secret) = ApiKey::generate(environment).map_err(Failure::misuse)?;
    key.name.clone_from(&arguments.name);
    key.approver = approver(arguments)?;
    if let Some(scopes) = scopes(arguments) {
        key.scopes = scopes;
    }
    key.expires_at = arguments.ttl.map(expiry).transpose()?;
    key.allowed_cidrs.clone_from(&arguments.cidrs);
    key.rate_limit_per_minute = arguments.rate;
    let id = key.key_id.clone();
    let place = arguments.location.create().await?;
    let options = arguments.location.options();
    let suspended = match &arguments.org {
        Some(id) => check_organization(&place, id, &options).await?,
        None => None,
    };
    key.org_id = arguments.org.clone().unwrap_or_default();
    let keys = KeyStore::new(place);
    keys.add(key).await?;
    // A key that could not be printed is unusable, so it is revoked.
    match output::print_now(&format!("{}\n", secret.expose_secret())) {
        Ok(Reader::Open) => {}
        shown => {
            keys.revoke(&id).await?;
            let why = match shown {
                Err(Failure::Misuse(why)) => why,
                _ => "standard output is closed".to_owned(),
            };
            return Err(Failure::misuse(format!(
                "the key could not be printed, so {id} is revoked: {why}"
            )));
        }
    }
    let notice = format!(
        "the key is printed only once; to revoke it, run `atlasent key revoke{options} {id}`"
    );
    Ok(Output::new("").with_warnings(suspended.into_iter().chain([notice])))
}

/// Returns the approver of the key. A vote needs a name, and a role alone has none.
fn approver(arguments: &Create) -> Result<Option<Approver>, Failure> {
    let Some(principal) = &arguments.approver else {
        return if arguments.scopes.contains(&ApiScope::Approve) {
            Err(Failure::misuse(
                "the scope `approve` needs `--approver NAME`: name the person whose votes the key casts",
            ))
        } else {
            Ok(None)
        };
    };
    let approver = Approver::new(principal, &arguments.roles).map_err(Failure::misuse)?;
    Ok(Some(approver))
}

/// Returns the scopes of the key, unless it has those of every key.
fn scopes(arguments: &Create) -> Option<Vec<ApiScope>> {
    let mut scopes = arguments.scopes.clone();
    match (&arguments.approver, scopes.is_empty()) {
        (None, true) => return None,
        (None, false) => {}
        (Some(_), true) => scopes = ApiScope::APPROVER.to_vec(),
        (Some(_), false) if scopes.contains(&ApiScope::Approve) => {}
        (Some(_), false) => scopes.push(ApiScope::Approve),
    }
    Some(scopes)
}

/// Fails if the registry has no such organization. Returns a warning if it is suspended. `options`
/// are those of the location, for the commands to run next.
async fn check_organization(
    place: &Place,
    id: &OrgId,
    options: &str,
) -> Result<Option<String>, Failure> {
    if id.is_local() {
        return Ok(None);
    }
    let organization = OrgStore::new(place).find(id).await?.ok_or_else(|| {
        Failure::misuse(format!(
            "there is no organization `{id}`: create it with `atlasent org create {id}{options}`"
        ))
    })?;
    Ok(organization.suspended.map(|_| {
        format!("the organization `{id}` is suspended, so the key is refused until `atlasent org resume {id}{options}`")
    }))
}

fn expiry(ttl: Duration) -> Result<Timestamp, Failure> {
    SignedDuration::try_from(ttl)
        .and_then(|ttl| Timestamp::now().checked_add(ttl))
        .map_err(|_| {
            Failure::misuse(
                "`--ttl` is too long: set a shorter one, or omit it for a key that does not expire",
            )
        })
}
