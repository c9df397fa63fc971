//! What a server reads again while it runs: API keys, policies and the certificate, each in a task
//! of its own, so that none waits for another.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::app::App;
use super::listen::Certificate;
use super::log_limit::OUTAGES;
use super::off_thread::off_thread;
use super::policy_folder::PolicyFolder;
use crate::store::Store;

/// How often the version of the API keys is looked up: half of the second within which a change
/// is promised to count.
const KEYS: Duration = Duration::from_millis(500);

/// How often files are looked at.
const FILES: Duration = Duration::from_secs(1);

/// How long one round may take before the log says that it hangs.
const OVERDUE: Duration = Duration::from_secs(10);

/// Starts the tasks. They end when the set is dropped.
pub(super) fn start<S: Store>(
    app: &Arc<App<S>>,
    policies: Option<PolicyFolder>,
    certificate: Option<Certificate>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(refresh_keys(Arc::clone(app)));
    if let Some(policies) = policies {
        tasks.spawn(refresh_policies(Arc::clone(app), policies));
    }
    if let Some(certificate) = certificate {
        tasks.spawn(refresh_certificate(certificate));
    }
    tasks
}

async fn refresh_keys<S: Store>(app: Arc<App<S>>) {
    let mut rounds = Rounds::new(KEYS);
    let mut events = KeyEvents::default();
    loop {
        rounds.next().await;
        if let Some(Err(error)) = watched("the API keys", app.keys.refresh()).await {
            tracing::error!(target: "atlasent", %error, "the API keys stay as they were");
        }
        watched("the events of API keys", events.record(&app)).await;
        for (kind, suppressed) in OUTAGES.take_untold() {
            tracing::warn!(target: "atlasent", suppressed, "{kind}: no more lines for now");
        }
    }
}

/// Which keys the chain has events of, as far as this process knows.
#[derive(Default)]
struct KeyEvents {
    recorded: u64,
    failed: bool,
}

impl KeyEvents {
    /// Records the keys that were created or revoked. What cannot be recorded is tried again.
    async fn record<S: Store>(&mut self, app: &App<S>) {
        let Some((version, keys)) = app.keys.stored_since(self.recorded).await else {
            return;
        };
        match app.authority.record_keys(&keys).await {
            Ok(()) => {
                *self = Self {
                    recorded: version,
                    failed: false,
                }
            }
            // One line for an outage, however long it is.
            Err(error) if !self.failed => {
                self.failed = true;
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(target: "atlasent", %error, cause, "changes of API keys cannot be recorded");
            }
            Err(_) => {}
        }
    }
}

async fn refresh_policies<S: Store>(app: Arc<App<S>>, mut policies: PolicyFolder) {
    let mut rounds = Rounds::new(FILES);
    loop {
        let asked = rounds.next().await;
        watched("the policies", policies.refresh(&app, asked)).await;
    }
}

async fn refresh_certificate(mut certificate: Certificate) {
    let mut rounds = Rounds::new(FILES);
    loop {
        let asked = rounds.next().await;
        let mut next = certificate.clone();
        let reading = off_thread("atlasent-certificate", move || {
            next.refresh(asked);
            next
        });
        match watched("the certificate", reading).await {
            Some(Ok(read)) => certificate = read,
            Some(Err(error)) => {
                tracing::error!(target: "atlasent", %error, "the former certificate stays in use");
            }
            None => {}
        }
    }
}

/// Awaits one round, and logs when it hangs or panics. It is not given up: a second read of
/// the same file would hang as well.
async fn watched<T>(what: &str, round: impl Future<Output = T>) -> Option<T> {
    let mut round = pin!(AssertUnwindSafe(round).catch_unwind());
    loop {
        match timeout(OVERDUE, &mut round).await {
            Ok(Ok(result)) => return Some(result),
            Ok(Err(_)) => {
                tracing::error!(target: "atlasent", "reading {what} ended in a panic; it is tried again");
                return None;
            }
            Err(_) => {
                tracing::error!(target: "atlasent", "reading {what} hangs; what was read before stays in force");
            }
        }
    }
}

/// The rounds of a task: one a period, and one for each signal to read the files again.
pub(super) struct Rounds {
    tick: Interval,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Rounds {
    pub(super) fn new(period: Duration) -> Self {
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        #[cfg(unix)]
        let hangup = {
            use tokio::signal::unix::{SignalKind, signal};
            signal(SignalKind::hangup()).ok()
        };
        Self {
            tick,
            #[cfg(unix)]
            hangup,
        }
    }

    /// Awaits the next round. Returns whether a signal asked for it.
    pub(super) async fn next(&mut self) -> bool {
        #[cfg(unix)]
        if let Some(hangup) = &mut self.hangup {
            return tokio::select! {
                _ = self.tick.tick() => false,
                Some(()) = hangup.recv() => true,
            };
        }
        self.tick.tick().await;
        false
    }
}
