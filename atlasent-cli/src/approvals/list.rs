//! `atlasent approvals list`: the pending decisions, or those in another state.

use atlasent::wire::{Escalation, EscalationFilter, EscalationStatus};
use clap::{Args, ValueEnum};
use futures_util::TryStreamExt;
use serde_json::json;

use super::access::ServerAccess;
use super::text::line;
use crate::exit::Failure;
use crate::json::for_stdout;
use crate::output::{Output, escaped};
use crate::runtime;

/// List what waits for approval, the newest first
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent approvals list
  atlasent approvals list --agent deploy-bot
  atlasent approvals list --status rejected --limit 10 --json | jq -r '.approvals[].id'"
)]
pub(super) struct List {
    /// The state of the decisions: pending, escalated, approved, rejected or timed_out
    /// [default: open ones]
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    status: Option<Status>,

    /// Only decisions that this agent asked for
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,

    /// The largest number of decisions
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,

    #[command(flatten)]
    server: ServerAccess,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A state of decisions.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Status {
    Pending,
    Escalated,
    Approved,
    Rejected,
    TimedOut,
}

impl From<Status> for EscalationStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Escalated => Self::Escalated,
            Status::Approved => Self::Approved,
            Status::Rejected => Self::Rejected,
            Status::TimedOut => Self::TimedOut,
        }
    }
}

/// Lists decisions.
pub(super) fn run(arguments: &List) -> Result<Output, Failure> {
    let states: &[Status] = match arguments.status {
        Some(_) => &[],
        None => &[Status::Pending, Status::Escalated],
    };
    let states = arguments.status.iter().chain(states);
    let client = arguments.server.client()?;
    let limit = usize::from(arguments.limit);
    let listing = async {
        let mut found: Vec<Escalation> = Vec::new();
        for state in states {
            let mut filter = EscalationFilter::default()
                .status((*state).into())
                .limit(u32::from(arguments.limit));
            if let Some(agent) = &arguments.agent {
                filter = filter.agent_id(agent);
            }
            let mut stream = std::pin::pin!(client.escalation_stream(filter));
            let mut of_state = 0;
            while of_state < limit
                && let Some(escalation) = stream
                    .try_next()
                    .await
                    .map_err(|error| arguments.server.call_failure(&error))?
            {
                found.push(escalation);
                of_state += 1;
            }
        }
        let environment = match found.is_empty() && !arguments.json {
            true => client.key_self().await.ok().map(|key| key.environment),
            false => None,
        };
        Ok((found, environment))
    };
    let (mut found, environment) = runtime::run(listing)?;
    found.sort_by(|one, other| other.created_at.cmp(&one.created_at));
    found.truncate(limit);
    Ok(Output::new(match arguments.json {
        true => for_stdout(&json!({ "approvals": found }).to_string()),
        false if found.is_empty() => format_empty_list(arguments, environment.as_deref()),
        false => found.iter().map(line).collect(),
    }))
}

/// Formats an empty list. It names the environment of the API key, if the server tells it, because
/// decisions of the other environment are not listed.
fn format_empty_list(arguments: &List, environment: Option<&str>) -> String {
    let nothing = match arguments.status {
        Some(_) => "no such decision",
        None => "nothing waits for approval",
    };
    let listed = environment.map(|environment| {
        let environment = escaped(environment);
        format!(": a `{environment}` key lists what `{environment}` keys asked for")
    });
    format!("{nothing}{}\n", listed.unwrap_or_default())
}
