//! `atlasent approvals show`: one decision, with what would run.

use clap::Args;
use serde_json::json;

use super::access::ServerAccess;
use super::text::page;
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::Output;
use crate::runtime;

/// Show who asks for what, why it is held, what would run, and who has voted
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent approvals show esc_0f3a9c…
  atlasent approvals show esc_0f3a9c… --json | jq .approval.proposed_action")]
pub(super) struct Show {
    /// The id of the decision, as printed by `atlasent approvals list`
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    server: ServerAccess,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows the decision.
pub(super) fn run(arguments: &Show) -> Result<Output, Failure> {
    let client = arguments.server.client()?;
    let id = &arguments.id;
    let reading = async {
        let escalation = client.escalation(id).await?;
        let votes = client.escalation_votes(id).await?;
        let steps = client.escalation_chain(id).await?;
        Ok((escalation, votes, steps))
    };
    let read = runtime::run(async {
        let read: Result<_, atlasent::Error> = reading.await;
        read.map_err(|error| arguments.server.call_failure(&error))
    });
    let (escalation, votes, steps) = read?;
    Ok(Output::new(match arguments.json {
        true => {
            let json = json!({ "approval": escalation, "votes": votes, "escalations": steps });
            for_stdout(&json.to_string())
        }
        false => page(&escalation, &votes, &steps),
    }))
}
