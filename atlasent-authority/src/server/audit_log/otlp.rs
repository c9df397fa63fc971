//! The audit trail as OTLP logs (feature `otlp`): each event of the chain becomes one log record,
//! which a collector gets over HTTP.
//!
//! A batch is sent until the collector takes it, and the position on disk follows. A pipeline of
//! log processors would drop records under load, and the exporter of `opentelemetry-otlp` hides
//! which records a collector rejects. So the messages alone come from there.

mod collector;
mod config;
mod record;

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::position::Position;
use super::trail::{PAGE, Trail};
use super::{OVERDUE, PERIOD, Writing};
use crate::server::app::App;
use crate::server::backoff::{Backoff, jitter};
use crate::server::off_thread::off_thread;

use crate::store::Store;
use collector::{Collector, Failure};
use config::Config;

/// The time between two attempts, unless the collector asks for more.
const PAUSES: Backoff = Backoff {
    first: PERIOD,
    longest: Duration::from_secs(30),
};

/// The longest time that a collector can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// A collector that gets each event of the chain as an OTLP log record, in order, over HTTP in
/// protobuf.
///
/// Each record is sent after the event's commit, at least once: a batch is sent again, with growing
/// pauses, until the collector takes it. The attribute `log.record.uid` is the event's id, so that
/// a repeated record is found. A collector that is slow or down stops no decision. Failures go to
/// the log of the process and to the metrics `atlasent_audit_log_otlp_failures_total`,
/// `atlasent_audit_log_otlp_rejected_total` and `atlasent_audit_log_otlp_sequence`.
///
/// ```no_run
/// use atlasent_authority::server::{ApiKeys, OtlpLog, Server};
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment};
/// use atlasent_authority::signing::KeyRing;
/// use atlasent_authority::{LocalAuthority, Policies};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = LocalAuthority::in_memory(Policies::from_dir("policies")?)?;
/// let (key, _secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// let collector = Some("https://collector.example:4318");
/// let server = Server::new(authority, ApiKeys::new([key]), KeyRing::in_memory()?)
///     .otlp_log(OtlpLog::from_env(collector, "/var/lib/atlasent/otlp-position.json")?);
/// # Ok(()) }
/// ```
#[must_use = "records are sent by the server that the log is given to"]
pub struct OtlpLog {
    config: Config,
    collector: Collector,
    file: PathBuf,
    /// The last event that the collector took, as the file has it.
    last: Option<Position>,
}

impl OtlpLog {
    /// Sends to an endpoint, or to the one that the environment names, by the variables that
    /// [OpenTelemetry specifies](https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
    ///
    /// An endpoint is used as it is; without a path it gets `/v1/logs`. Without an endpoint,
    /// `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` is used as it is, or `OTEL_EXPORTER_OTLP_ENDPOINT` with
    /// `/v1/logs` behind it; the default is `http://localhost:4318/v1/logs`. In both cases, the
    /// variables for headers, timeout and CA certificate count, as do `OTEL_SERVICE_NAME` and
    /// `OTEL_RESOURCE_ATTRIBUTES`. Plain `http` is accepted for this machine only, unless
    /// `ATLASENT_ALLOW_INSECURE_HTTP` is `1`.
    ///
    /// `position` is a file that holds the last event that the collector took. A new file begins
    /// with the first event of the store.
    ///
    /// # Errors
    ///
    /// When the endpoint or a variable is invalid, when the certificates or the position cannot be
    /// read.
    pub fn from_env(endpoint: Option<&str>, position: impl Into<PathBuf>) -> io::Result<Self> {
        let config = Config::read(endpoint, |name| std::env::var_os(name))?;
        let collector = Collector::new(&config)?;
        let file = position.into();
        let last = Position::load(&file)?;
        Ok(Self {
            config,
            collector,
            file,
            last,
        })
    }

    /// Sets how long one request to the collector may take, instead of what the environment says
    /// (10 seconds by default). A second call replaces the first.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self.collector.timeout = timeout;
        self
    }

    /// Starts sending.
    pub(in crate::server) fn start<S: Store>(self, app: &Arc<App<S>>) -> Writing {
        let sender = Sender {
            trail: Trail(Arc::clone(app)),
            collector: self.collector,
            saved: self.last.clone(),
            last: self.last,
            file: self.file,
            position: None,
            batch: PAGE,
            failures: 0,
            has_failed: false,
        };
        Writing::spawn(
            |stopped| sender.run(stopped),
            || {
                tracing::error!(
                    target: "atlasent",
                    "the collector lacks the last events: it gets them after the next start"
                );
            },
        )
    }
}

impl fmt::Debug for OtlpLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpLog")
            .field("endpoint", &self.config.shown_endpoint())
            .field("position", &self.file)
            .finish_non_exhaustive()
    }
}

struct Sender<S> {
    trail: Trail<S>,
    collector: Collector,
    file: PathBuf,
    /// The last event of the file as it was read at the start.
    last: Option<Position>,
    /// The last event that the collector took; unknown until the store was asked once.
    position: Option<Position>,
    /// The position that the file holds.
    saved: Option<Position>,
    /// How many events the next request has at most.
    batch: usize,
    /// How many attempts have failed since the last success.
    failures: u32,
    /// Whether the log has a line about the present outage.
    has_failed: bool,
}

impl<S: Store> Sender<S> {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = sleep(wait) => {}
            }
            wait = self.round().await;
        }
        self.round().await;
    }

    /// Sends all new events. Returns how long to wait for the next round. One line of the process's
    /// log tells of an outage, and one of its end.
    async fn round(&mut self) -> Duration {
        match self.send_new().await {
            Ok(()) => {
                self.failures = 0;
                if mem::take(&mut self.has_failed) {
                    tracing::info!(target: "atlasent", "the collector takes the audit trail again");
                }
                PERIOD
            }
            Err(failure) => {
                self.fail(&failure.error);
                self.failures = self.failures.saturating_add(1);
                let wait = PAUSES.pause(self.failures, jitter());
                let asked = failure.retry_after.unwrap_or_default();
                wait.max(asked.min(LONGEST_RETRY_AFTER))
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.trail.0.metrics.otlp.failures.inc();
        if !mem::replace(&mut self.has_failed, true) {
            let after = self.position.as_ref().map(|position| position.sequence);
            tracing::error!(
                target: "atlasent", %error, after,
                "the audit trail cannot be sent to the collector; decisions go on, and it is sent again"
            );
        }
    }

    async fn send_new(&mut self) -> Result<(), Failure> {
        let mut position = self.position().await?;
        self.save(&position).await?;
        loop {
            let clock = Arc::clone(&self.trail.0.clock);
            let convert = move |event: &_| record::log_record(event, clock.now());
            let page = (self.trail).page(position.sequence, self.batch, convert);
            let page = page.await?;
            let Some((last, _)) = page.entries.last() else {
                return Ok(());
            };
            let last = last.clone();
            let first = position.sequence.saturating_add(1);
            let records: Vec<_> = (page.entries.into_iter())
                .filter_map(|(_, record)| record)
                .collect();
            let sent = records.len();
            if sent > 0 {
                match self.send(records, first, last.sequence).await {
                    Ok(()) => {}
                    // Half of the events may fit the collector's limit, or leave out the one event
                    // that it refuses.
                    Err(failure) if failure.is_bad_request && sent > 1 => {
                        self.batch = sent / 2;
                        continue;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            page.gaps.report(last.sequence);
            self.reached(&last);
            self.save(&last).await?;
            position = last;
        }
    }

    /// Sends one batch. Events that the collector rejects from it are counted and logged; the
    /// protocol forbids to send them again.
    async fn send(
        &mut self,
        records: Vec<LogRecord>,
        first: u64,
        last: u64,
    ) -> Result<(), Failure> {
        let sent = records.len();
        let delivery = self.collector.send(records).await?;
        self.failures = 0;
        self.batch = self.batch.saturating_mul(2).min(PAGE);
        if delivery.rejected > 0 {
            let rejected = delivery.rejected.min(sent as u64);
            self.trail.0.metrics.otlp.rejected.inc_by(rejected);
            tracing::error!(
                target: "atlasent", rejected, first, last, reason = delivery.message,
                "the collector rejected events of the audit trail; the chain keeps them"
            );
        } else if !delivery.message.is_empty() {
            tracing::warn!(
                target: "atlasent", first, last, reason = delivery.message,
                "the collector took events of the audit trail with a warning"
            );
        }
        Ok(())
    }

    /// Returns the last event that the collector has.
    async fn position(&mut self) -> io::Result<Position> {
        if let Some(position) = &self.position {
            return Ok(position.clone());
        }
        let position = match self.last.clone() {
            Some(last) => self.trail.after(last).await?,
            None => Position::beginning(),
        };
        self.reached(&position);
        Ok(position)
    }

    fn reached(&mut self, position: &Position) {
        self.trail.0.metrics.otlp.reached(position.sequence);
        self.position = Some(position.clone());
    }

    /// Saves the position, which never runs ahead of the collector.
    async fn save(&mut self, position: &Position) -> io::Result<()> {
        if self.saved.as_ref() == Some(position) {
            return Ok(());
        }
        let (file, next) = (self.file.clone(), position.clone());
        let mut saving = pin!(off_thread("atlasent-otlp-position", move || next.save(&file)));
        let saved = match timeout(OVERDUE, &mut saving).await {
            Ok(saved) => saved,
            // A second write would hang as well.
            Err(_) => {
                self.fail(&io::Error::new(
                    ErrorKind::TimedOut,
                    "saving the position takes too long: its disk takes nothing",
                ));
                saving.await
            }
        };
        saved??;
        self.saved = Some(position.clone());
        Ok(())
    }
}
