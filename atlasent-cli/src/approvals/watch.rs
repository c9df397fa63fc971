//! `atlasent approvals watch`: prints decisions as they are opened and closed.

use std::collections::HashMap;
use std::time::Duration;

use atlasent::wire::{Escalation, EscalationFilter, EscalationStatus};
use clap::Args;

use super::text::line;
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use crate::runtime;
use crate::server::ServerAddress;

/// How often the server is asked for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How many decisions are asked for at a time: the newest ones.
const NEWEST: u32 = 500;

/// Print what waits for approval, and then each change, until interrupted
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent approvals watch
  atlasent approvals watch --json | while read -r line; do echo \"$line\" | jq -r .id; done")]
pub(super) struct Watch {
    #[command(flatten)]
    server: ServerAddress,

    /// Print each change as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints changes until the reader has gone.
pub(super) fn run(arguments: &Watch) -> Result<Output, Failure> {
    runtime::run(watch(arguments))?;
    Ok(Output::new(""))
}

async fn watch(arguments: &Watch) -> Result<(), Failure> {
    let client = arguments.server.client()?;
    let mut known: Option<HashMap<String, State>> = None;
    loop {
        let page = client
            .escalations(&EscalationFilter::default().limit(NEWEST))
            .await
            .map_err(|error| arguments.server.call_failure(&error))?;
        let mut states = HashMap::new();
        for escalation in page.escalations.iter().rev() {
            let state = State::from(escalation);
            let is_news = match &known {
                Some(known) => known.get(&escalation.id) != Some(&state),
                // What was decided before is no news.
                None => escalation.status.is_open(),
            };
            if is_news && print(escalation, arguments.json)? == Reader::Closed {
                return Ok(());
            }
            states.insert(escalation.id.clone(), state);
        }
        known = Some(states);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What changes of a decision.
#[derive(PartialEq)]
struct State {
    status: EscalationStatus,
    approved: u32,
    depth: u32,
}

impl From<&Escalation> for State {
    fn from(escalation: &Escalation) -> Self {
        let progress = escalation.quorum_progress.as_ref();
        Self {
            status: escalation.status.clone(),
            approved: progress.map_or(0, |progress| progress.approved),
            depth: escalation.escalation_depth,
        }
    }
}

fn print(escalation: &Escalation, as_json: bool) -> Result<Reader, Failure> {
    let text = match as_json {
        true => format!(
            "{}\n",
            serde_json::to_string(escalation).map_err(Failure::misuse)?
        ),
        false => line(escalation),
    };
    output::print_now(&text)
}
