//! `atlasent key list`: which keys there are.

use atlasent_authority::keys::ApiKey;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::place::Place;
use crate::exit::Failure;
use crate::json;
use crate::output::{Output, harmless};

/// List the API keys, without the keys themselves
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key list
  atlasent key list --json"
)]
pub(super) struct List {
    /// Print one JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

/// Lists the keys.
pub(super) async fn run(arguments: &List) -> Result<Output, Failure> {
    let keys = arguments.place.open().await?.all().await?;
    if arguments.json {
        let keys: Vec<_> = keys.iter().map(described).collect();
        return Ok(Output::new(json::for_stdout(
            &serde_json::Value::from(keys).to_string(),
        )));
    }
    if keys.is_empty() {
        return Ok(Output::new(
            "no API keys: `atlasent key create` makes one\n",
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
    harmless(&line) + "\n"
}

fn state(key: &ApiKey) -> &'static str {
    match key {
        key if key.revoked_at.is_some() => "revoked",
        key if key.is_active_at(Timestamp::now()) => "good",
        _ => "expired",
    }
}

/// All but the digest: whoever has it cannot get at the key, and needs it for nothing.
fn described(key: &ApiKey) -> serde_json::Value {
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
