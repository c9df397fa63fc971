//! `atlasent resume`: lifts stops.

use clap::Args;
use serde_json::json;

use super::{Scope, json, line};
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Lift stops, so that the policies decide again
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent resume stop_0f3a9c… --reason 'fixed in 1.4'
  atlasent resume --agent deploy-bot --reason 'fixed in 1.4'

The server is the one of `--base-url` or ATLASENT_BASE_URL, asked with the key of ATLASENT_API_KEY, which needs the
scope `stop`. Permits that were out when the stop was set stay dead: agents ask for new ones.")]
pub(crate) struct Resume {
    /// The id of the stop, as `atlasent stop` printed it
    #[arg(value_name = "ID", conflicts_with_all = ["agent", "action", "all"])]
    id: Option<String>,

    /// Lift every stop of exactly this agent, this action, or everything
    #[command(flatten)]
    scope: Scope,

    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    server: ServerAddress,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lifts the stop, or every stop of the scope.
pub(crate) fn run(arguments: &Resume) -> Result<Output, Failure> {
    if arguments.reason.trim().is_empty() {
        return Err(Failure::misuse("`--reason` is empty: say why"));
    }
    let client = arguments.server.client()?;
    let lifting = async {
        let ids = match (&arguments.id, arguments.scope.read()?) {
            (Some(id), _) => vec![id.clone()],
            (None, Some(scope)) => {
                let stops = client
                    .stops()
                    .await
                    .map_err(|error| arguments.server.failed(&error))?;
                let of_scope = stops.into_iter().filter(|stop| stop.scope == scope);
                of_scope.map(|stop| stop.id).collect()
            }
            (None, None) => {
                return Err(Failure::misuse(
                    "which stop? name its id, `--agent AGENT`, `--action ACTION` or `--all`; \
                     `atlasent stop --list` lists them",
                ));
            }
        };
        if ids.is_empty() {
            return Err(Failure::Refused("no such stop holds".to_owned()));
        }
        let mut lifted = Vec::new();
        for id in ids {
            lifted.push(
                client
                    .lift_stop(&id, &arguments.reason)
                    .await
                    .map_err(|error| arguments.server.failed(&error))?,
            );
        }
        Ok(lifted)
    };
    let lifted = runtime::run(lifting)?;
    Ok(Output::new(match arguments.json {
        true => {
            let lifted: Vec<_> = lifted.iter().map(json).collect();
            for_stdout(&json!({ "lifted": lifted }).to_string())
        }
        false => lifted.iter().map(line).collect(),
    }))
}
