//! The rounds in which tasks look for changes.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How often tasks look for changed files.
pub(super) const FILES: Duration = Duration::from_secs(1);

/// How long a round may take before the log reports that it hangs.
const OVERDUE: Duration = Duration::from_secs(10);

/// Awaits one round, and logs when it hangs or panics. A round that hangs is not cancelled: a
/// second read of the same file would hang as well.
pub(super) async fn watched<T>(what: &str, round: impl Future<Output = T>) -> Option<T> {
    let mut round = pin!(AssertUnwindSafe(round).catch_unwind());
    loop {
        match timeout(OVERDUE, &mut round).await {
            Ok(Ok(result)) => return Some(result),
            Ok(Err(_)) => {
                tracing::error!(target: "atlasent", "reading {what} panicked; the next round tries again");
                return None;
            }
            Err(_) => {
                tracing::error!(target: "atlasent", "reading {what} hangs; the former version stays in force");
            }
        }
    }
}

/// Replaces the default action of `SIGHUP`, which ends the process, for the rest of the process's
/// life. Each [`Rounds`] does so as well, but later: its task starts after the server has announced
/// its address.
pub(crate) fn keep_running_on_hangup() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // A process without signal handlers still serves: it reads changed files in each period.
        let _handler = signal(SignalKind::hangup());
    }
}

/// The rounds of a task: one in each period, and one for each `SIGHUP`.
pub(crate) struct Rounds {
    tick: Interval,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Rounds {
    pub(crate) fn new(period: Duration) -> Self {
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

    /// Awaits the next round. Returns whether a signal started it.
    pub(crate) async fn next(&mut self) -> bool {
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
