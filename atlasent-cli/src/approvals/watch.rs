//! `atlasent approvals watch`: prints decisions as they are opened and closed.
//!
//! Each look reads the newest decisions, and each tenth one all that wait, however old they are:
//!
//! ```text
//! look 1        all that wait are printed, the oldest first
//! looks 2 to 10 what changed among the newest 500
//! look 11       what changed among all that wait; those that wait no more are read one by one
//! ```

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use atlasent::error::Code;
use atlasent::wire::{Escalation, EscalationFilter, EscalationStatus};
use atlasent::{Client, Error};
use clap::Args;
use futures_util::TryStreamExt;

use super::access::ServerAccess;
use super::text::line;
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use crate::runtime;

/// How often the server is asked for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause after calls that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After how many looks at the newest decisions all that wait are read.
const LOOKS: u32 = 10;

/// How many decisions are asked for at a time.
const PAGE: u32 = 500;

/// Print what waits for approval, and then each change, until interrupted
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent approvals watch
  atlasent approvals watch --json | while read -r line; do echo \"$line\" | jq -r .id; done

The server is asked each second. While it cannot be reached, the command tries again, and says so on the standard
error output.")]
pub(super) struct Watch {
    #[command(flatten)]
    server: ServerAccess,

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
    let mut known: Option<Known> = None;
    let (mut looks, mut pause) = (0_u32, POLL_INTERVAL);
    loop {
        let all = looks.is_multiple_of(LOOKS);
        match look(&client, known.as_ref(), all).await {
            Ok(found) => {
                if print_news(&found, known.as_ref(), arguments.json)? == Reader::Closed {
                    return Ok(());
                }
                let seen = found.iter().map(|one| (one.id.clone(), State::from(one)));
                match &mut known {
                    Some(known) if !all => known.extend(seen),
                    _ => known = Some(seen.collect()),
                }
                looks = looks.wrapping_add(1);
                pause = POLL_INTERVAL;
            }
            // Without one answer, the address or the key is wrong rather than the server down.
            Err(error) if known.is_none() || !may_pass(&error) => {
                return Err(arguments.server.call_failure(&error));
            }
            Err(error) => {
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                let failure = arguments.server.call_failure(&error);
                let (reason, seconds) = (failure.reason(), pause.as_secs());
                let again = format!("{reason}; the next try is in {seconds} seconds");
                output::print_stderr_line("warning", &again);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// What was printed of each decision: of those that wait, and of the newest.
type Known = HashMap<String, State>;

/// Returns the newest decisions, and on request all that wait and those that wait no more since
/// the last look at all; the oldest first.
async fn look(client: &Client, known: Option<&Known>, all: bool) -> Result<Vec<Escalation>, Error> {
    let newest = EscalationFilter::default().limit(PAGE);
    let mut found = client.escalations(&newest).await?.escalations;
    if all {
        let mut seen: HashSet<String> = found.iter().map(|one| one.id.clone()).collect();
        for status in [EscalationStatus::Pending, EscalationStatus::Escalated] {
            let filter = EscalationFilter::default().status(status).limit(PAGE);
            let mut waiting = std::pin::pin!(client.escalation_stream(filter));
            while let Some(one) = waiting.try_next().await? {
                if seen.insert(one.id.clone()) {
                    found.push(one);
                }
            }
        }
        for (id, state) in known.into_iter().flatten() {
            if state.status.is_open() && !seen.contains(id) {
                match client.escalation(id).await {
                    Ok(one) => found.push(one),
                    // The server has forgotten it.
                    Err(Error::Failed(failure)) if failure.status() == Some(404) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    found.sort_by(|one, other| one.created_at.cmp(&other.created_at));
    Ok(found)
}

fn print_news(
    found: &[Escalation],
    known: Option<&Known>,
    as_json: bool,
) -> Result<Reader, Failure> {
    for escalation in found {
        let is_news = match known {
            Some(known) => known.get(&escalation.id) != Some(&State::from(escalation)),
            // What was decided before is no news.
            None => escalation.status.is_open(),
        };
        if is_news && print(escalation, as_json)? == Reader::Closed {
            return Ok(Reader::Closed);
        }
    }
    Ok(Reader::Open)
}

/// Returns whether a call may succeed later. A refused key stays refused.
fn may_pass(error: &Error) -> bool {
    !matches!(
        error.code(),
        None | Some(Code::InvalidApiKey | Code::Forbidden | Code::BadRequest)
    )
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
