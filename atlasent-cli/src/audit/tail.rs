//! `atlasent audit tail`: prints recent events, and with `--follow` new ones.

use std::time::Duration;

use atlasent::Error;
use atlasent::audit::Event;
use atlasent::error::{self, Code};
use clap::Args;
use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::filter::FilterArgs;
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use crate::runtime;
use crate::server::ServerAddress;

/// The interval at which the server is polled for new events.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Print recent events of the audit trail, and with --follow new ones
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit tail --base-url http://127.0.0.1:8080
  atlasent audit tail --follow --type evaluate.deny --type permit.verify_failed
  atlasent audit tail --since 2026-11-28T09:00:00Z --json | jq .payload

The API key is read from ATLASENT_API_KEY and needs the scope `audit.read`. Without `--since`, the output starts with
the events of the last 10 minutes.")]
pub(super) struct Tail {
    /// Keep running, also through outages, and print new events, polled every second
    #[arg(long, short)]
    follow: bool,

    /// Print each event as one line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    server: ServerAddress,
}

/// Prints the events.
pub(super) fn run(arguments: &Tail) -> Result<Output, Failure> {
    runtime::run(tail(arguments))?;
    Ok(Output::new(""))
}

async fn tail(arguments: &Tail) -> Result<(), Failure> {
    let client = arguments.server.client()?;
    let ten_minutes_ago = Timestamp::now() - SignedDuration::from_mins(10);
    let mut since = arguments
        .filter
        .since
        .unwrap_or(ten_minutes_ago)
        .to_string();
    let mut printed = 0;
    let (mut has_answered, mut is_failing) = (false, false);
    loop {
        let filter = arguments.filter.for_server().since(&since).limit(500);
        let mut events = std::pin::pin!(client.audit_event_stream(filter));
        let failed = loop {
            let event = match events.try_next().await {
                Ok(Some(event)) => event,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            // `since` is inclusive: events of the same timestamp are returned again.
            if event.envelope.sequence <= printed {
                continue;
            }
            if output::print_now(&line(&event, arguments.json)?)? == Reader::Closed {
                return Ok(());
            }
            printed = event.envelope.sequence;
            since.clone_from(&event.envelope.occurred_at);
        };
        let mut pause = POLL_INTERVAL;
        match failed {
            None => (has_answered, is_failing) = (true, false),
            // Without one answer, the address or the key is wrong rather than the server down.
            Some(error) if arguments.follow && has_answered && may_pass(&error) => {
                if !is_failing {
                    let failure = arguments.server.call_failure(&error);
                    let again = format!("{}; the command tries again", failure.reason());
                    output::print_stderr_line("warning", &again);
                }
                is_failing = true;
                let asked = error.failure().and_then(error::Failure::retry_after);
                pause = pause.max(asked.unwrap_or_default());
            }
            Some(error) => return Err(arguments.server.call_failure(&error)),
        }
        if !arguments.follow {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns whether a later call may succeed.
fn may_pass(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(Code::Network | Code::Timeout | Code::ServerError | Code::RateLimited)
    )
}

fn line(event: &Event, as_json: bool) -> Result<String, Failure> {
    if as_json {
        let json = serde_json::to_string(event).map_err(Failure::misuse)?;
        return Ok(format!("{json}\n"));
    }
    let envelope = &event.envelope;
    let text = |key| event.payload.text(key).unwrap_or_default().into_owned();
    let columns = [
        envelope.occurred_at.clone(),
        format!("{:>8}", envelope.sequence),
        format!("{:<20}", envelope.kind),
        envelope.actor_id.clone().unwrap_or_else(|| "-".to_owned()),
        text("action_type"),
        envelope.resource_id.clone().unwrap_or_default(),
        text("reason"),
    ];
    let columns = columns.iter().filter(|text| !text.is_empty());
    let line: Vec<_> = columns.map(|text| output::escaped(text)).collect();
    Ok(format!("{}\n", line.join("  ")))
}
