//! The audit trail as a log: each event of the chain as one line of JSON.
//!
//! Events are read from the store after their commit, so that each line is on the chain. A log that
//! cannot be written stops no decision: the chain keeps the events, and the log catches up.

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

/// How often new events are looked for.
const PERIOD: Duration = Duration::from_millis(500);

/// How long a write may take before the log says that it hangs.
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
            trail: Trail(Arc::clone(app)),
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
        Writing {
            task,
            stop,
            on_timeout: || {
                tracing::error!(
                    target: "atlasent",
                    "the audit log lacks the last events: a file gets them at the next start"
                );
            },
        }
    }
}

/// A log that is being written, until it is dropped.
pub(super) struct Writing {
    task: JoinSet<()>,
    stop: oneshot::Sender<()>,
    /// Logs that the last events are not written.
    on_timeout: fn(),
}

impl Writing {
    /// Writes what is on the chain by now, and ends.
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
    /// The last event of the file as it was opened.
    last: Option<Position>,
    /// The last event that was written; unknown until the store was asked once.
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

    /// The event behind which the log goes on.
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

    /// Writes a page behind a position, and returns the new position.
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
