//! `atlasent audit tail`: events as they happen.

use std::time::Duration;

use atlasent::audit::Event;
use clap::Args;
use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::filter::Filter;
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use crate::runtime;
use crate::server::ServerAddress;

/// How often a server is asked for more.
const PERIOD: Duration = Duration::from_secs(1);

/// Print the events of the last minutes, and those that follow
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit tail --base-url http://127.0.0.1:8080
  atlasent audit tail --follow --type evaluate.deny --type permit.verify_failed
  atlasent audit tail --since 2026-11-28T09:00:00Z --json | jq .payload

The server is that of `--base-url` or ATLASENT_BASE_URL, asked with the key of ATLASENT_API_KEY. Without `--since` the
first events are those of the last ten minutes.")]
pub(super) struct Tail {
    /// Go on with the events that happen from now on
    #[arg(long, short)]
    follow: bool,

    /// Print each event as one line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    filter: Filter,

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
            .map_err(|error| arguments.server.failed(&error))?
        {
            // Those of the same moment come again.
            if event.envelope.sequence <= printed {
                continue;
            }
            if output::tell(&line(&event, arguments.json)?)? == Reader::Gone {
                return Ok(());
            }
            printed = event.envelope.sequence;
            since.clone_from(&event.envelope.occurred_at);
        }
        if !arguments.follow {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn line(event: &Event, as_json: bool) -> Result<String, Failure> {
    if as_json {
        let json = serde_json::to_string(event).map_err(Failure::misuse)?;
        return Ok(format!("{json}\n"));
    }
    let envelope = &event.envelope;
    let text = |key| event.payload.text(key).unwrap_or_default().into_owned();
    let said = [
        envelope.occurred_at.clone(),
        format!("{:>8}", envelope.sequence),
        format!("{:<20}", envelope.kind),
        envelope.actor_id.clone().unwrap_or_else(|| "-".to_owned()),
        text("action_type"),
        envelope.resource_id.clone().unwrap_or_default(),
        text("reason"),
    ];
    let said: Vec<_> = said.iter().filter(|text| !text.is_empty()).collect();
    let line: Vec<_> = said.iter().map(|text| output::harmless(text)).collect();
    Ok(format!("{}\n", line.join("  ")))
}
