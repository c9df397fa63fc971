//! Policies that are read again when they change: taken if they are good, refused and on record if they are not.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::app::App;
use super::gate::in_time;
use super::policy_folder::{PolicyFolder, examine, look, read};
use crate::store::Store;

impl PolicyFolder {
    /// Reads them again if they have changed, or if that is asked for.
    pub(super) async fn refresh<S: Store>(&mut self, app: &App<S>, asked: bool) {
        let (path, seen) = (self.path.clone(), self.seen.clone());
        let Ok(state) = spawn_blocking(move || examine(&path, seen.as_ref())).await else {
            return;
        };
        if !self.is_due(&state, asked, std::time::Instant::now()) {
            return;
        }
        let now = state.look;
        let path = self.path.clone();
        let reading = move || (read(&path), look(&path).ok());
        let Ok((read, after)) = spawn_blocking(reading).await else {
            return;
        };
        // It is being written: half of it must not decide, not even for a second.
        if after != now {
            return;
        }
        let limit = app.settings.request_timeout;
        let deadline = Instant::now() + limit;
        let recorded = match read {
            Ok(policies) => {
                let count = policies.len();
                let replacing = app.authority.replace_policies(policies);
                let recorded = in_time(limit, deadline, replacing).await;
                if matches!(recorded, Ok(Ok(()))) {
                    tracing::info!(target: "atlasent", policies = count, "new policies decide");
                    app.metrics.reloaded("loaded");
                }
                recorded
            }
            Err(error) => {
                for problem in error.problems() {
                    tracing::error!(target: "atlasent", %problem, "policies refused; the former ones stay");
                }
                app.metrics.reloaded("refused");
                let recording = app.authority.policies_refused(&error);
                in_time(limit, deadline, recording).await
            }
        };
        match recorded {
            Ok(Ok(())) => self.seen = now,
            // Not on record, so not in force: the next look tries again.
            Ok(Err(error)) => {
                tracing::error!(target: "atlasent", %error, "new policies cannot be recorded");
            }
            Err(problem) => {
                let code = problem.code;
                tracing::error!(target: "atlasent", code, "new policies cannot be recorded");
            }
        }
    }
}

/// Does what has to be done again and again, until it is dropped.
pub(super) async fn keep_fresh<S: Store>(
    app: Arc<App<S>>,
    mut policies: Option<PolicyFolder>,
    mut certificate: Option<super::listen::Certificate>,
) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hangups = Hangups::new();
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => false,
            () = hangups.next() => true,
        };
        if let Err(error) = app.keys.refresh().await {
            tracing::error!(target: "atlasent", %error, "the API keys stay as they were");
        }
        if let Some(policies) = &mut policies {
            policies.refresh(&app, asked).await;
        }
        if let Some(certificate) = &mut certificate {
            certificate.refresh(asked);
        }
    }
}

/// The signal by which a service is told to read its files again.
struct Hangups(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangups {
    fn new() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Self(signal(SignalKind::hangup()).ok())
        }
        #[cfg(not(unix))]
        Self()
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
