//! Reads the trail for a log: the position after which the log continues, and the events after it,
//! page by page.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use atlasent::audit::Event;
use futures_util::FutureExt;
use tokio::time::timeout;

use super::position::Position;
use crate::server::app::App;
use crate::store::{Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::complete::event_at;

/// How many events, and how many bytes of payloads, are in memory at a time.
pub(super) const PAGE: usize = 500;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How long a read may take before it counts as failed.
const OVERDUE: Duration = Duration::from_secs(10);

/// The events after a position in the store.
pub(super) struct Page<T> {
    /// Each converted event, or `None` for an event that cannot be read.
    pub(super) entries: Vec<(Position, Option<T>)>,
    pub(super) gaps: Gaps,
}

/// Events that are missing from a log.
pub(super) struct Gaps {
    /// The first and the last event that the store no longer has.
    missing: Option<(u64, u64)>,
    /// Events whose payload is not the one that was sealed.
    unreadable: Vec<u64>,
}

impl Gaps {
    /// Logs the gaps up to the event that a log has reached.
    pub(super) fn report(self, reached: u64) {
        if let Some((first, last)) = self.missing {
            tracing::warn!(
                target: "atlasent", first, last,
                "events left the store before the audit log had them: see the bundles of the archive"
            );
        }
        for sequence in self.unreadable {
            if sequence <= reached {
                tracing::error!(target: "atlasent", sequence, "the audit log lacks an event that cannot be read");
            }
        }
    }
}

/// The trail of a server. A log reads it in the pool of the exports, not on the threads that
/// decide.
pub(super) struct Trail<S>(pub(super) Arc<App<S>>);

impl<S: Store> Trail<S> {
    /// Returns the position after which a log with the last event `last` continues. The trail of
    /// another store is read from its beginning.
    pub(super) async fn after(&self, last: Position) -> io::Result<Position> {
        let app = Arc::clone(&self.0);
        self.read(async move { continued(app.local().authority.store(), last).await })
            .await
    }

    /// Returns the position of the newest event.
    pub(super) async fn end(&self) -> io::Result<Position> {
        let app = Arc::clone(&self.0);
        self.read(async move {
            let status = app.local().authority.store().status().await?;
            Ok(Position {
                sequence: status.head.sequence,
                hash: (*status.head.hash).to_owned(),
            })
        })
        .await
    }

    /// Returns at most `limit` events after a sequence number, each converted for the log.
    pub(super) async fn page<T: Send + 'static>(
        &self,
        after: u64,
        limit: usize,
        convert: impl Fn(&Event) -> Result<T, serde_json::Error> + Send + 'static,
    ) -> io::Result<Page<T>> {
        let app = Arc::clone(&self.0);
        self.read(async move { page(app.local().authority.store(), after, limit, convert).await })
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        reading: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> io::Result<T> {
        let reading = AssertUnwindSafe(self.0.read_pools.exports.run(reading)).catch_unwind();
        let failed = |why: String| io::Error::other(format!("the events cannot be read: {why}"));
        match timeout(OVERDUE, reading).await {
            Ok(Ok(Ok(read))) => read.map_err(|error| failed(error.to_string())),
            Ok(Ok(Err(problem))) => Err(failed(problem.message().to_owned())),
            Ok(Err(_)) => Err(failed("reading ended in a panic".to_owned())),
            Err(_) => Err(failed("the store does not answer".to_owned())),
        }
    }
}

async fn continued<S: Store>(store: &S, last: Position) -> Result<Position, StoreError> {
    let status = store.status().await?;
    let continues = match last.sequence {
        // The store does not have the event any more, so that it cannot be compared.
        sequence if sequence <= status.dropped => true,
        sequence if sequence > status.head.sequence => false,
        sequence => {
            let event = event_at(store, sequence).await?;
            event.is_some_and(|event| *event.hash == *last.hash)
        }
    };
    if continues {
        return Ok(last);
    }
    tracing::warn!(
        target: "atlasent", sequence = last.sequence,
        "the audit log ends with an event of another chain; this chain follows from its first event on"
    );
    Ok(Position::beginning())
}

async fn page<S: Store, T>(
    store: &S,
    after: u64,
    limit: usize,
    convert: impl Fn(&Event) -> Result<T, serde_json::Error>,
) -> Result<Page<T>, StoreError> {
    let filter = EventFilter::default().most_bytes(PAGE_BYTES);
    let events = store.events(after, limit, &filter).await?;
    let next = after.saturating_add(1);
    let first = events.first().map_or(next, |event| event.sequence);
    let mut page = Page {
        entries: Vec::with_capacity(events.len()),
        gaps: Gaps {
            missing: (first > next).then(|| (next, first.saturating_sub(1))),
            unreadable: Vec::new(),
        },
    };
    for event in events {
        let converted = match event.to_event() {
            Ok(readable) => Some(convert(&readable).map_err(StoreError::failed)?),
            Err(_) => {
                page.gaps.unreadable.push(event.sequence);
                None
            }
        };
        let position = Position {
            sequence: event.sequence,
            hash: (*event.hash).to_owned(),
        };
        page.entries.push((position, converted));
    }
    Ok(page)
}
