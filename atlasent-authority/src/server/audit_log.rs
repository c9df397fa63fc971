//! Logs of the audit trail: each event as one line of JSON, or as one OTLP record.
//!
//! Events are read from the store after their commit, so each logged event is on the chain. A log
//! that cannot be written delays no decision: the chain keeps the events, and the log catches up.

#[cfg(feature = "otlp")]
mod otlp;
mod output;
mod position;
mod trail;

use std::io::{self, ErrorKind};
use std::mem;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::app::App;
use super::off_thread::off_thread;
use super::tasks::Rounds;
use crate::store::Store;
#[cfg(feature = "otlp")]
pub use otlp::OtlpLog;
use output::{Lines, Output, Target};
use position::Position;
use trail::{PAGE, Page, Trail};

/// The period in which the store is read for new events.
const PERIOD: Duration = Duration::from_millis(500);

/// The time after which a write is reported as hanging.
const OVERDUE: Duration = Duration::from_secs(10);

/// The time limit for the last lines during a shutdown.
const LAST: Duration = Duration::from_secs(5);

/// A log with one line of JSON for each event of the chain, in order. A line has the members of an
/// event of `GET /v1-audit/events`.
///
/// Each line is written after the event's commit, at least once. A failed write delays no decision.
/// The log of the process and the metrics `atlasent_audit_log_failures_total` and
/// `atlasent_audit_log_sequence` report it, and the missing lines follow once writing works again.
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
    /// The last event in the file.
    last: Option<Position>,
}

impl AuditLog {
    /// Appends to a file. A new file is readable by its owner only. The log continues after the
    /// event of the file's last whole line; an empty file gets every event in the store.
    ///
    /// `SIGHUP` opens the file again by its name, so that it can be rotated. While the new file is
    /// empty, `FILE.position` names the last event of the former file.
    ///
    /// # Errors
    ///
    /// Fails when the path is a link or not a regular file, when another process writes the file,
    /// when its last line is not an event, or when it cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let mut output = Output::new(Target::File(path.into()));
        let last = output.open()?;
        Ok(Self { output, last })
    }

    /// Writes to standard output, beginning with the first event after the start of the server.
    ///
    /// Events that a killed process did not write are missing from the log: the next process starts
    /// with its own first event.
    pub fn stdout() -> Self {
        Self {
            output: Output::new(Target::Stdout),
            last: None,
        }
    }

    /// Starts writing. It reads the position first, so that no later event is left out.
    pub(super) async fn start<S: Store>(self, app: &Arc<App<S>>) -> Writing {
        let rounds = Rounds::new(PERIOD);
        let mut writer = Writer {
            trail: Trail(Arc::clone(app)),
            output: self.output,
            last: self.last,
            position: None,
            has_failed: false,
        };
        if let Err(error) = writer.position().await {
            writer.fail(&error);
        }
        Writing::spawn(
            |stopped| writer.run(rounds, stopped),
            || {
                tracing::error!(
                    target: "atlasent",
                    "the audit log lacks the last events: a file gets them at the next start"
                );
            },
        )
    }
}

/// A running log, or the notifications of an endpoint. Dropping it stops it.
pub(super) struct Writing {
    task: JoinSet<()>,
    stop: oneshot::Sender<()>,
    /// Logs that the last events are not written.
    on_timeout: fn(),
}

impl Writing {
    /// Starts a task that ends when its channel closes.
    pub(super) fn spawn<T>(run: impl FnOnce(oneshot::Receiver<()>) -> T, on_timeout: fn()) -> Self
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(run(stopped));
        Self {
            task,
            stop,
            on_timeout,
        }
    }

    /// Ends, after at most 5 seconds for the last events.
    pub(super) async fn finish(mut self) {
        drop(self.stop);
        if timeout(LAST, self.task.join_next()).await.is_err() {
            (self.on_timeout)();
        }
    }
}

struct Writer<S> {
    trail: Trail<S>,
    output: Output,
    /// The last event of the file when it was opened.
    last: Option<Position>,
    /// The last written event; unset until the store was read once.
    position: Option<Position>,
    has_failed: bool,
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

    /// Writes all new events. The log of the process has one line for an outage, and one for its
    /// end.
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
        self.trail.0.metrics.audit_log_failed();
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
            let page = self.trail.page(after, PAGE, serde_json::to_vec).await?;
            let is_empty = page.entries.is_empty();
            if is_empty && self.output.is_open() {
                return Ok(());
            }
            position = self.write(page, position).await?;
            if is_empty {
                return Ok(());
            }
        }
    }

    /// Returns the event after which the log continues.
    async fn position(&mut self) -> io::Result<Position> {
        if let Some(position) = &self.position {
            return Ok(position.clone());
        }
        let position = match (self.last.clone(), self.output.target()) {
            (Some(last), _) => self.trail.after(last).await?,
            (None, Target::File(_)) => Position::beginning(),
            (None, Target::Stdout) => self.trail.end().await?,
        };
        self.reached(&position);
        Ok(position)
    }

    /// Writes the page after a position, and returns the new position.
    async fn write(&mut self, page: Page<Vec<u8>>, after: Position) -> io::Result<Position> {
        let lines = Lines::new(page.entries);
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
            page.gaps.report(reached.sequence);
        }
        written.map(|()| reached.unwrap_or(after))
    }

    fn reached(&mut self, position: &Position) {
        self.trail.0.metrics.audit_log_reached(position.sequence);
        self.position = Some(position.clone());
    }
}
