//! `atlasent stop`: sets a stop, or lists those that hold.

use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Scope, json, line};
use crate::duration::lifetime;
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Stop an agent, an action or everything, permits that are already out included
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent stop --agent deploy-bot --reason 'it deploys in a loop'
  atlasent stop --action deploy.production --for 2h --reason 'change freeze'
  atlasent stop --all --reason 'incident 4711'
  atlasent stop --list

The server is the one of `--base-url` or ATLASENT_BASE_URL, asked with the key of ATLASENT_API_KEY, which needs the
scope `stop`. From the answer on, everything that the stop covers is denied (code STOPPED). `atlasent resume` lifts it;
permits that were out when it was set stay dead.")]
pub(crate) struct Stop {
    #[command(flatten)]
    scope: Scope,

    /// Why, for the audit trail and for those who are refused
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    reason: Option<String>,

    /// End by itself after this time [default: only `atlasent resume` ends it]
    #[arg(long = "for", value_name = "DURATION", value_parser = lifetime)]
    duration: Option<Duration>,

    /// List the stops that hold, and set none
    #[arg(long, conflicts_with_all = ["agent", "action", "all", "reason", "duration"])]
    list: bool,

    #[command(flatten)]
    server: ServerAddress,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Sets the stop, or lists those that hold.
pub(crate) fn run(arguments: &Stop) -> Result<Output, Failure> {
    if arguments.list {
        return list(arguments);
    }
    let scope = arguments.scope.read()?.ok_or_else(|| {
        Failure::misuse("what is to stop? name `--agent AGENT`, `--action ACTION` or `--all`")
    })?;
    let reason = arguments.reason.as_deref().unwrap_or_default();
    if reason.trim().is_empty() {
        return Err(Failure::misuse("`--reason` is empty: say why"));
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
            .map_err(|error| arguments.server.failed(&error))
    })?;
    Ok(Output::new(match arguments.json {
        true => for_stdout(&json(&stop).to_string()),
        false => line(&stop),
    }))
}

fn list(arguments: &Stop) -> Result<Output, Failure> {
    let client = arguments.server.client()?;
    let stops = runtime::run(async {
        client
            .stops()
            .await
            .map_err(|error| arguments.server.failed(&error))
    })?;
    Ok(Output::new(match arguments.json {
        true => {
            let stops: Vec<_> = stops.iter().map(json).collect();
            for_stdout(&json!({ "stops": stops }).to_string())
        }
        false if stops.is_empty() => "no stop holds\n".to_owned(),
        false => stops.iter().map(line).collect(),
    }))
}
