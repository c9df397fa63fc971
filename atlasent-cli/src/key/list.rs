//! `atlasent key list`: lists the API keys.

use atlasent_authority::keys::ApiKey;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::location::KeyLocation;
use crate::exit::Failure;
use crate::json;
use crate::output::{Output, escaped};

/// List the API keys by id, environment, state, scopes and name; the secrets are not stored
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key list
  atlasent key list --json"
)]
pub(super) struct List {
    /// Print the keys as one JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    location: KeyLocation,
}

/// Lists the API keys.
pub(super) async fn run(arguments: &List) -> Result<Output, Failure> {
    let keys = arguments.location.open().await?.all().await?;
    if arguments.json {
        let keys: Vec<_> = keys.iter().map(as_json).collect();
        return Ok(Output::new(json::for_stdout(
            &serde_json::Value::from(keys).to_string(),
        )));
    }
    if keys.is_empty() {
        return Ok(Output::new(
            "no API keys: create one with `atlasent key create`\n",
        ));
    }
    Ok(Output::new(keys.iter().map(line).collect::<String>()))
}

fn line(key: &ApiKey) -> String {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let line = format!(
        "{}  {}  {:7}  {}  {}",
        key.key_id,
        key.environment,
        state(key),
        scopes.join(","),
        key.name.as_deref().unwrap_or("-"),
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
        "name": key.name,
        "environment": key.environment.as_str(),
        "state": state(key),
        "scopes": key.scopes,
        "allowed_cidrs": key.allowed_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rate_limit_per_minute": key.rate_limit_per_minute,
        "created_at": key.created_at.to_string(),
        "expires_at": time(key.expires_at),
        "revoked_at": time(key.revoked_at),
    })
}
