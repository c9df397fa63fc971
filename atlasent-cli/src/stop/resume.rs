//! `atlasent resume`: lifts stops.

use clap::Args;
use serde_json::json;

use super::{ScopeArgs, as_json, as_line};
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Lift stops, so that policies decide again
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent resume stop_0f3a9c… --reason 'fixed in 1.4'
  atlasent resume --agent deploy-bot --reason 'fixed in 1.4'

The API key is read from ATLASENT_API_KEY and needs the scope `stop`. Permits that were invalidated by the stop stay
invalid: agents request new ones. The exit code is 1 if no such stop is in effect. A `test` key lifts no stop of a
`live` key (exit code 2).")]
pub(crate) struct Resume {
    /// The id of the stop, as printed by `atlasent stop` and `atlasent stop --list`
    #[arg(value_name = "ID", conflicts_with_all = ["agent", "action", "all"])]
    id: Option<String>,

    #[command(flatten)]
    scope: ScopeArgs,

    /// The reason, which is recorded in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    server: ServerAddress,

    /// Print the lifted stops as one JSON object
    #[arg(long)]
    json: bool,
}

/// Lifts the stop with the id, or all stops with exactly the scope.
pub(crate) fn run(arguments: &Resume) -> Result<Output, Failure> {
    if arguments.reason.trim().is_empty() {
        return Err(Failure::misuse(
            "`--reason` is empty: give a reason for the audit trail",
        ));
    }
    let client = arguments.server.client()?;
    let lifting = async {
        let ids = match (&arguments.id, arguments.scope.stop_scope()?) {
            (Some(id), _) => vec![id.clone()],
            (None, Some(scope)) => {
                let stops = client
                    .stops()
                    .await
                    .map_err(|error| arguments.server.call_failure(&error))?;
                let of_scope = stops.into_iter().filter(|stop| stop.scope == scope);
                of_scope.map(|stop| stop.id).collect()
            }
            (None, None) => {
                return Err(Failure::misuse(
                    "no stop selected: give its id, `--agent AGENT`, `--action ACTION` or `--all`; \
                     `atlasent stop --list` lists the stops",
                ));
            }
        };
        if ids.is_empty() {
            return Err(Failure::refused(
                "no stop with this scope is in effect: `atlasent stop --list` lists the stops",
            ));
        }
        let mut lifted = Vec::new();
        for id in ids {
            lifted.push(
                client
                    .lift_stop(&id, &arguments.reason)
                    .await
                    .map_err(|error| arguments.server.call_failure(&error))?,
            );
        }
        Ok(lifted)
    };
    let lifted = runtime::run(lifting)?;
    Ok(Output::new(match arguments.json {
        true => {
            let lifted: Vec<_> = lifted.iter().map(as_json).collect();
            for_stdout(&json!({ "lifted": lifted }).to_string())
        }
        false => lifted.iter().map(as_line).collect(),
    }))
}
