//! The audit trail as a log: each event of the chain as one line of JSON.
//!
//! Events are read from the store after their commit, so that each line is on the chain. A log that
//! cannot be written stops no decision: the chain keeps the events, and the log catches up.

mod output;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::mem;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use atlasent::audit::GENESIS_HASH;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::app::App;
use super::off_thread::off_thread;
use super::tasks::Rounds;
use crate::store::{Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::complete::event_at;
use output::{Lines, Output, Position, Target};

/// How often new events are looked for.
const PERIOD: Duration = Duration::from_millis(500);

/// How many events, and how many bytes of payloads, are in memory at a time.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How long a read or a write may take before it counts as failed.
const OVERDUE: Duration = Duration::from_secs(10);

/// How long the last lines may take when the server ends.
const LAST: Duration = Duration::from_secs(5);

/// A log that gets each event of the chain as one line of JSON, in order, as
/// `GET /v1-audit/events` has it.
///
/// Each line is written after the event's commit, at least once. A failure stops no decision: it
/// goes to the log of the process and to the metrics `atlasent_audit_log_failures_total` and
/// `atlasent_audit_log_sequence`, and the lines follow when the log can be written again.
///
/// ```no_run
/// use atlasent_authority::server::{AuditLog, ApiKeys, Server};
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment};
/// use atlasent_authority::signing::KeyRing;
/// use atlasent_authority::{LocalAuthority, Policies};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = LocalAuthority::in_memory(Policies::from_dir("policies")?)?;
/// let (key, _secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// let server = Server::new(authority, ApiKeys::new([key]), KeyRing::in_memory()?)
///     .audit_log(AuditLog::open("/var/log/atlasent/audit.jsonl")?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a log is written by the server that it is given to"]
pub struct AuditLog {
    output: Output,
    /// The last event that a file has.
    last: Option<Position>,
}

impl AuditLog {
    /// Appends to a file, which its owner alone may read when it is new. The log goes on behind the
    /// event of the file's last whole line; an empty file gets every event that the store has.
    ///
    /// On `SIGHUP` the file is opened again by its name, so that it can be rotated. While a new
    /// file is empty, `FILE.position` says which event the former file ended with.
    ///
    /// # Errors
    ///
    /// When the place holds a link, anything but a regular file, a file that another process
    /// writes, or a file whose last line is no event; when the file cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let mut output = Output::new(Target::File(path.into()));
        let last = output.open()?;
        Ok(Self { output, last })
    }

    /// Writes to standard output, from the first event after the start of the server on.
    ///
    /// What a process that is killed has not written yet, the next one does not write either.
    pub fn stdout() -> Self {
        Self {
            output: Output::new(Target::Stdout),
            last: None,
        }
    }

    /// Starts writing. The position is looked up first, so that no later event is left out.
    pub(super) async fn start<S: Store>(self, app: &Arc<App<S>>) -> Writing {
        let rounds = Rounds::new(PERIOD);
        let mut writer = Writer {
            app: Arc::clone(app),
            output: self.output,
            last: self.last,
            position: None,
            has_failed: false,
        };
        if let Err(error) = writer.position().await {
            writer.fail(&error);
        }
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(writer.run(rounds, stopped));
        Writing { task, stop }
    }
}

/// A log that is being written, until it is dropped.
pub(super) struct Writing {
    task: JoinSet<()>,
    stop: oneshot::Sender<()>,
}

impl Writing {
    /// Writes what is on the chain by now, and ends.
    pub(super) async fn finish(mut self) {
        drop(self.stop);
        if timeout(LAST, self.task.join_next()).await.is_err() {
            tracing::error!(
                target: "atlasent",
                "the audit log lacks the last events: a file gets them at the next start"
            );
        }
    }
}

struct Writer<S> {
    app: Arc<App<S>>,
    output: Output,
    /// The last event of the file as it was opened.
    last: Option<Position>,
    /// The last event that was written; unknown until the store was asked once.
    position: Option<Position>,
    has_failed: bool,
}

/// What follows a position in the store.
#[derive(Default)]
struct Page {
    lines: Lines,
    /// The first and the last event that the store does not have any more.
    missing: Option<(u64, u64)>,
    /// Events whose payload is not the one that was sealed.
    unreadable: Vec<u64>,
}

impl<S: Store> Writer<S> {
    async fn run(mut self, mut rounds: Rounds, mut stopped: oneshot::Receiver<()>) {
        loop {
            let asked = tokio::select! {
                biased;
                _ = &mut stopped => break,
                asked = rounds.next() => asked,
            };
            if asked {
                self.output.close();
            }
            self.round().await;
        }
        self.round().await;
    }

    /// Writes all new events. One line of the process's log tells of an outage, and one of its end.
    async fn round(&mut self) {
        match self.write_new().await {
            Ok(()) if self.has_failed => {
                self.has_failed = false;
                tracing::info!(target: "atlasent", "the audit log is written again");
            }
            Ok(()) => {}
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.app.metrics.audit_log_failed();
        if !mem::replace(&mut self.has_failed, true) {
            tracing::error!(
                target: "atlasent", %error,
                "the audit log cannot be written; decisions go on, and it is tried again"
            );
        }
    }

    async fn write_new(&mut self) -> io::Result<()> {
        let mut position = self.position().await?;
        loop {
            let after = position.sequence;
            let app = Arc::clone(&self.app);
            let page = self.read(async move { page(app.authority.store(), after).await });
            let page = page.await?;
            let is_empty = page.lines.ends.is_empty();
            if is_empty && self.output.is_open() {
                return Ok(());
            }
            position = self.write(page, position).await?;
            if is_empty {
                return Ok(());
            }
        }
    }

    /// The event behind which the log goes on.
    async fn position(&mut self) -> io::Result<Position> {
        if let Some(position) = &self.position {
            return Ok(position.clone());
        }
        let app = Arc::clone(&self.app);
        let last = self.last.clone();
        let is_file = matches!(self.output.target(), Target::File(_));
        let position = self.read(async move {
            let store = app.authority.store();
            match last {
                Some(last) => going_on(store, last).await,
                None if is_file => Ok(beginning()),
                None => store.status().await.map(|status| Position {
                    sequence: status.head.sequence,
                    hash: status.head.hash,
                }),
            }
        });
        let position = position.await?;
        self.reached(&position);
        Ok(position)
    }

    /// Writes a page behind a position, and returns the new position.
    async fn write(&mut self, page: Page, after: Position) -> io::Result<Position> {
        let Page {
            lines,
            missing,
            unreadable,
        } = page;
        let closed = Output::new(self.output.target().clone());
        let mut output = mem::replace(&mut self.output, closed);
        let before = after.clone();
        let mut writing = pin!(off_thread("atlasent-audit-log", move || {
            let (reached, written) = output.write(&lines, &before);
            (output, reached, written)
        }));
        let finished = match timeout(OVERDUE, &mut writing).await {
            Ok(finished) => finished,
            // A second write would hang as well.
            Err(_) => {
                self.fail(&io::Error::new(
                    ErrorKind::TimedOut,
                    "writing takes too long: its reader or its disk takes nothing",
                ));
                writing.await
            }
        };
        let (output, reached, written) = finished?;
        self.output = output;
        if let Some(reached) = &reached {
            self.reached(reached);
            if let Some((first, last)) = missing {
                tracing::warn!(
                    target: "atlasent", first, last,
                    "events left the store before the audit log had them: see the bundles of the archive"
                );
            }
            for sequence in unreadable {
                if sequence <= reached.sequence {
                    tracing::error!(target: "atlasent", sequence, "the audit log lacks an event that cannot be read");
                }
            }
        }
        written.map(|()| reached.unwrap_or(after))
    }

    fn reached(&mut self, position: &Position) {
        self.app.metrics.audit_log_reached(position.sequence);
        self.position = Some(position.clone());
    }

    /// Reads from the store beside the exports, away from the threads that decide.
    async fn read<T: Send + 'static>(
        &self,
        reading: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> io::Result<T> {
        let reading = AssertUnwindSafe(self.app.read_pools.exports.run(reading)).catch_unwind();
        let failed = |why: String| io::Error::other(format!("the events cannot be read: {why}"));
        match timeout(OVERDUE, reading).await {
            Ok(Ok(Ok(read))) => read.map_err(|error| failed(error.to_string())),
            Ok(Ok(Err(problem))) => Err(failed(problem.message().to_owned())),
            Ok(Err(_)) => Err(failed("reading ended in a panic".to_owned())),
            Err(_) => Err(failed("the store does not answer".to_owned())),
        }
    }
}

/// The position before the first event.
fn beginning() -> Position {
    Position {
        sequence: 0,
        hash: GENESIS_HASH.to_owned(),
    }
}

/// The last event of a file, if the store continues it. The trail of another store is written from
/// its beginning.
async fn going_on<S: Store>(store: &S, last: Position) -> Result<Position, StoreError> {
    let status = store.status().await?;
    let continues = match last.sequence {
        // The store does not have the event any more, so that it cannot be compared.
        sequence if sequence <= status.dropped => true,
        sequence if sequence > status.head.sequence => false,
        sequence => {
            let event = event_at(store, sequence).await?;
            event.is_some_and(|event| event.hash == last.hash)
        }
    };
    if continues {
        return Ok(last);
    }
    tracing::warn!(
        target: "atlasent", sequence = last.sequence,
        "the audit log ends with an event of another chain; this chain follows from its first event on"
    );
    Ok(beginning())
}

/// The events behind a sequence number, line by line.
async fn page<S: Store>(store: &S, after: u64) -> Result<Page, StoreError> {
    let filter = EventFilter::default().most_bytes(PAGE_BYTES);
    let events = store.events(after, PAGE, &filter).await?;
    let mut page = Page::default();
    if let Some(first) = events.first()
        && first.sequence > after.saturating_add(1)
    {
        page.missing = Some((after.saturating_add(1), first.sequence.saturating_sub(1)));
    }
    let text = &mut page.lines.text;
    for event in events {
        match event.to_event() {
            Ok(readable) => {
                serde_json::to_writer(&mut *text, &readable).map_err(StoreError::failed)?;
                text.push(b'\n');
            }
            Err(_) => page.unreadable.push(event.sequence),
        }
        let position = Position {
            sequence: event.sequence,
            hash: event.hash.clone(),
        };
        page.lines.ends.push((text.len(), position));
    }
    Ok(page)
}
