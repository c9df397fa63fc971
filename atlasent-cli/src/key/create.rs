//! `atlasent key create`: a new key, alone on standard output.

use std::time::Duration;

use atlasent_authority::keys::{ApiKey, ApiScope, DEFAULT_RATE_LIMIT, KeyEnvironment};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::place::Place;
use crate::duration::duration;
use crate::exit::Failure;
use crate::output::{self, Output, Reader, quoted};

/// Make an API key, and print it: the only time that it can be read
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key create --name deploy-service
  atlasent key create --environment live --scope evaluate --scope verify --ttl 90d --cidr 10.0.0.0/8 --rate 6000

The key is all that goes to standard output: `ATLASENT_API_KEY=$(atlasent key create)`. Its id, for `key revoke`, goes
to standard error. Without `--scope` a key is good for everything."
)]
pub(super) struct Create {
    /// What the key is for, in your words
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What environment it belongs to, which its first characters tell
    #[arg(long, value_name = "ENVIRONMENT", default_value = "test")]
    environment: Which,

    /// What it may be used for: evaluate, verify, revoke, permits.read, stop, audit.read or audit.export; repeatable
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<ApiScope>,

    /// How long it is good, such as 90d or 7776000 seconds [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,

    /// A network that it may be used from; repeatable [default: any]
    #[arg(long = "cidr", value_name = "CIDR", value_parser = cidr)]
    cidrs: Vec<IpNet>,

    /// How many calls a minute it is good for
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE_LIMIT, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,

    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Live,
    Test,
}

fn scope(word: &str) -> Result<ApiScope, String> {
    word.parse()
        .map_err(|error: atlasent_authority::keys::UnknownApiScope| error.to_string())
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let host = text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse()
        .or(host)
        .map_err(|_| format!("{} is no network such as `10.0.0.0/8`", quoted(text)))
}

/// Makes the key.
pub(super) async fn run(arguments: &Create) -> Result<Output, Failure> {
    let environment = match arguments.environment {
        Which::Live => KeyEnvironment::Live,
        Which::Test => KeyEnvironment::Test,
    };
    let (mut key, secret) = ApiKey::generate(environment).map_err(Failure::misuse)?;
    key.name.clone_from(&arguments.name);
    if !arguments.scopes.is_empty() {
        key.scopes.clone_from(&arguments.scopes);
    }
    key.expires_at = arguments.ttl.map(expiry).transpose()?;
    key.allowed_cidrs.clone_from(&arguments.cidrs);
    key.rate_limit_per_minute = arguments.rate;
    let id = key.key_id.clone();
    let keys = arguments.place.create().await?;
    keys.add(key).await?;
    // A key that was not shown is of use to no one, so it must not stay good.
    match output::tell(&format!("{}\n", secret.expose_secret())) {
        Ok(Reader::Listening) => {}
        shown => {
            keys.revoke(&id).await?;
            let why = match shown {
                Err(Failure::Misuse(why)) => why,
                _ => "standard output is closed".to_owned(),
            };
            return Err(Failure::misuse(format!(
                "the key could not be shown, so {id} is revoked: {why}"
            )));
        }
    }
    let said = format!("this is shown once; to take it back: `atlasent key revoke {id}`");
    Ok(Output::new("").warning([said]))
}

fn expiry(ttl: Duration) -> Result<Timestamp, Failure> {
    SignedDuration::try_from(ttl)
        .and_then(|ttl| Timestamp::now().checked_add(ttl))
        .map_err(|_| Failure::misuse("`--ttl` reaches beyond the end of time: leave it out"))
}
