//! `atlasent audit tail`: prints recent events, and with `--follow` new ones.

use std::time::Duration;

use atlasent::audit::Event;
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
    /// Keep running and print new events, polled every second
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
    loop {
        let filter = arguments.filter.for_server().since(&since).limit(500);
        let mut events = std::pin::pin!(client.audit_event_stream(filter));
        while let Some(event) = events
            .try_next()
            .await
            .map_err(|error| arguments.server.call_failure(&error))?
        {
            // `since` is inclusive: events of the same timestamp are returned again.
            if event.envelope.sequence <= printed {
                continue;
            }
            if output::print_now(&line(&event, arguments.json)?)? == Reader::Closed {
                return Ok(());
            }
            printed = event.envelope.sequence;
            since.clone_from(&event.envelope.occurred_at);
        }
        if !arguments.follow {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
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
