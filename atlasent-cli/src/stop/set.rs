//! `atlasent stop`: sets a stop, or lists the stops in effect.

use std::time::Duration;

use atlasent_authority::duration::parse_positive_duration;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ScopeArgs, as_json, as_line};
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Stop an agent, an action or everything: deny its requests and invalidate its permits
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent stop --agent deploy-bot --reason 'it deploys in a loop'
  atlasent stop --action deploy.production --for 2h --reason 'change freeze'
  atlasent stop --all --reason 'incident 4711'
  atlasent stop --list

The API key is read from ATLASENT_API_KEY and needs the scope `stop`. Once the command returns, the server denies every
request in the scope of the stop with the code STOPPED. `atlasent resume` lifts the stop; permits that were issued
before it stay invalid.")]
pub(crate) struct Stop {
    #[command(flatten)]
    scope: ScopeArgs,

    /// The reason, which is recorded in the audit trail and returned with each denial
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    reason: Option<String>,

    /// The duration of the stop, such as 2h or 7200 (seconds) [default: until `atlasent resume`]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_positive_duration)]
    duration: Option<Duration>,

    /// List the stops in effect instead of setting one
    #[arg(long, conflicts_with_all = ["agent", "action", "all", "reason", "duration"])]
    list: bool,

    #[command(flatten)]
    server: ServerAddress,

    /// Print the stop, or the list of stops, as one JSON object
    #[arg(long)]
    json: bool,
}

/// Sets the stop, or lists the stops in effect.
pub(crate) fn run(arguments: &Stop) -> Result<Output, Failure> {
    if arguments.list {
        return list(arguments);
    }
    let scope = arguments.scope.stop_scope()?.ok_or_else(|| {
        Failure::misuse("missing scope: give `--agent AGENT`, `--action ACTION` or `--all`")
    })?;
    let reason = arguments.reason.as_deref().unwrap_or_default();
    if reason.trim().is_empty() {
        return Err(Failure::misuse(
            "`--reason` is empty: give a reason for the audit trail",
        ));
    }
    let until = arguments.duration.map(|time| {
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let until = Timestamp::now().saturating_add(time);
        until.unwrap_or(Timestamp::MAX).to_string()
    });
    let client = arguments.server.client()?;
    let setting = client.set_stop(&scope, reason, until.as_deref());
    let stop = runtime::run(async {
        setting
            .await
            .map_err(|error| arguments.server.call_failure(&error))
    })?;
    Ok(Output::new(match arguments.json {
        true => for_stdout(&as_json(&stop).to_string()),
        false => as_line(&stop),
    }))
}

fn list(arguments: &Stop) -> Result<Output, Failure> {
    let client = arguments.server.client()?;
    let stops = runtime::run(async {
        client
            .stops()
            .await
            .map_err(|error| arguments.server.call_failure(&error))
    })?;
    Ok(Output::new(match arguments.json {
        true => {
            let stops: Vec<_> = stops.iter().map(as_json).collect();
            for_stdout(&json!({ "stops": stops }).to_string())
        }
        false if stops.is_empty() => "no stop is in effect\n".to_owned(),
        false => stops.iter().map(as_line).collect(),
    }))
}
