//! `atlasent key list`: lists the API keys.

use atlasent_authority::keys::ApiKey;
use atlasent_authority::store::OrgId;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::store::KeyStore;
use crate::exit::Failure;
use crate::json;
use crate::location::Location;
use crate::org;
use crate::output::{Output, escaped};

/// List the API keys with their state, organization, scopes and approvers; no secret is stored
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key list
  atlasent key list --json
  atlasent key list --org acme

The organizations are shown if a key belongs to another one than `local`."
)]
pub(super) struct List {
    /// Print the keys as one JSON array
    #[arg(long)]
    json: bool,

    /// List the keys of one organization only
    #[arg(long, value_name = "ID", value_parser = org::parse_id)]
    org: Option<OrgId>,

    #[command(flatten)]
    location: Location,
}

/// Lists the API keys.
pub(super) async fn run(arguments: &List) -> Result<Output, Failure> {
    let store = KeyStore::new(arguments.location.open().await?);
    let mut keys = store.all().await?;
    if let Some(org) = &arguments.org {
        keys.retain(|key| key.org_id == *org);
    }
    if arguments.json {
        let keys: Vec<_> = keys.iter().map(as_json).collect();
        return Ok(Output::new(json::for_stdout(
            &serde_json::Value::from(keys).to_string(),
        )));
    }
    if keys.is_empty() {
        let of = arguments.org.as_ref().filter(|org| !org.is_local());
        let of = of.map_or(String::new(), |org| format!(" --org {org}"));
        return Ok(Output::new(format!(
            "no API keys: create one with `atlasent key create{of}`\n"
        )));
    }
    let others = keys.iter().any(|key| !key.org_id.is_local());
    let width = keys.iter().map(|key| key.org_id.as_str().len()).max();
    let width = width.filter(|_| others);
    let lines = keys.iter().map(|key| line(key, width));
    Ok(Output::new(lines.collect::<String>()))
}

/// Returns the line of a key, with its organization if the column has a width.
fn line(key: &ApiKey, org_width: Option<usize>) -> String {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let approver = key.approver.as_ref();
    let line = format!(
        "{}  {}  {:7}  {}{}  {}{}",
        key.key_id,
        key.environment,
        state(key),
        org_width.map_or(String::new(), |width| format!(
            "{:width$}  ",
            key.org_id.as_str()
        )),
        scopes.join(","),
        key.name.as_deref().unwrap_or("-"),
        approver.map_or(String::new(), |approver| format!("  approver {approver}")),
    );
    escaped(&line) + "\n"
}

fn state(key: &ApiKey) -> &'static str {
    match key {
        key if key.revoked_at.is_some() => "revoked",
        key if key.is_active_at(Timestamp::now()) => "good",
        _ => "expired",
    }
}

/// Returns the JSON of a key without its digest, which no reader needs.
fn as_json(key: &ApiKey) -> serde_json::Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "key_id": key.key_id,
        "org_id": key.org_id,
        "name": key.name,
        "environment": key.environment.as_str(),
        "state": state(key),
        "scopes": key.scopes,
        "approver": key.approver,
        "allowed_cidrs": key.allowed_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rate_limit_per_minute": key.rate_limit_per_minute,
        "created_at": key.created_at.to_string(),
        "expires_at": time(key.expires_at),
        "revoked_at": time(key.revoked_at),
    })
}
