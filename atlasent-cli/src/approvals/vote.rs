//! `atlasent approvals approve` and `reject`.

use std::time::Duration;

use atlasent::wire::{CastVote, Escalation};
use atlasent_authority::duration::parse_positive_duration;
use clap::Args;
use serde_json::json;

use super::access::ServerAccess;
use super::text::line;
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::Output;
use crate::runtime;

/// Approve what an agent asks for
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent approvals approve esc_0f3a9c… --note 'the tests passed'
  atlasent approvals approve esc_0f3a9c… --for 1h --times 5
  atlasent approvals approve esc_0f3a9c… --times 5

An approval is for this one call: the same agent, action, resource and arguments. With `--for` or `--times`, it is for
the same agent, action and resource with any arguments, if the policy allows that (`@approval_grants`). Everything else
is decided by the policies again when the agent asks again."
)]
pub(super) struct Approve {
    #[command(flatten)]
    vote: VoteArgs,

    /// Approve the same action and resource for the agent for this long, with any arguments
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_positive_duration)]
    duration: Option<Duration>,

    /// Approve up to N calls, within `--for` or the policy's longest time [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    times: Option<u32>,
}

/// Reject what an agent asks for, which is final
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent approvals reject esc_0f3a9c… --note 'not on a Friday'

The agent gets the note as the reason of the denial."
)]
pub(super) struct Reject {
    #[command(flatten)]
    vote: VoteArgs,
}

#[derive(Args)]
struct VoteArgs {
    /// The id of the decision, as printed by `atlasent approvals list`
    #[arg(value_name = "ID")]
    id: String,

    /// A note, which is recorded in the audit trail
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    #[command(flatten)]
    server: ServerAccess,

    /// Print the decision as one JSON object
    #[arg(long)]
    json: bool,
}

/// Approves.
pub(super) fn approve(arguments: &Approve) -> Result<Output, Failure> {
    let mut vote = CastVote::new(arguments.vote.note.clone());
    match (arguments.duration, arguments.times) {
        (None, None) => {}
        (Some(duration), times) => vote = vote.for_any_context(duration, times),
        (None, Some(times)) => vote = vote.times_in_any_context(times),
    }
    cast(&arguments.vote, |client, id| async move {
        client.approve_with(&id, &vote).await
    })
}

/// Rejects.
pub(super) fn reject(arguments: &Reject) -> Result<Output, Failure> {
    let note = arguments.vote.note.clone();
    cast(&arguments.vote, |client, id| async move {
        client.reject(&id, note.as_deref()).await
    })
}

fn cast<F: Future<Output = Result<Escalation, atlasent::Error>>>(
    arguments: &VoteArgs,
    vote: impl FnOnce(atlasent::Client, String) -> F,
) -> Result<Output, Failure> {
    let client = arguments.server.client()?;
    let voting = vote(client, arguments.id.clone());
    let escalation = runtime::run(async {
        voting
            .await
            .map_err(|error| arguments.server.call_failure(&error))
    })?;
    Ok(Output::new(match arguments.json {
        true => for_stdout(&json!({ "approval": escalation }).to_string()),
        false => line(&escalation),
    }))
}
