//! Policies that are read again when they change: taken if they are good, refused and on record if they are not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use tokio::task::spawn_blocking;

use super::admission::Deadline;
use super::app::App;
use crate::policy::{Policies, PolicyError};
use crate::store::Store;

/// A folder of policies, and what it looked like when it was last read.
#[derive(Clone, Debug)]
pub struct PolicyFolder {
    path: PathBuf,
    seen: Option<Vec<Seen>>,
}

/// A file's name, length and time of change.
type Seen = (PathBuf, u64, Option<SystemTime>);

impl PolicyFolder {
    /// Reads the policies of a folder, to watch it from then on.
    ///
    /// # Errors
    ///
    /// As [`Policies::from_dir`].
    pub fn load(path: impl Into<PathBuf>) -> Result<(Policies, Self), PolicyError> {
        let path = path.into();
        // Looked at first, so that a change in between is found the next time.
        let seen = look(&path).ok();
        let policies = Policies::from_dir(&path)?;
        Ok((policies, Self { path, seen }))
    }

    /// Reads them again if they have changed, or if that is asked for.
    pub(super) async fn refresh<S: Store>(&mut self, app: &App<S>, asked: bool) {
        let path = self.path.clone();
        let now = spawn_blocking(move || look(&path).ok())
            .await
            .ok()
            .flatten();
        if now == self.seen && !asked {
            return;
        }
        let path = self.path.clone();
        let reading = move || (Policies::from_dir(&path), look(&path).ok());
        let Ok((read, after)) = spawn_blocking(reading).await else {
            return;
        };
        // It is being written: half of it must not decide, not even for a second.
        if after != now {
            return;
        }
        let deadline = Deadline::after(app.settings.request_timeout);
        let recorded = match read {
            Ok(policies) => {
                let count = policies.len();
                let replacing = app.authority.replace_policies(policies);
                let recorded = deadline.run(replacing).await;
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
                deadline.run(recording).await
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

fn look(path: &Path) -> io::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        // Follows links: a mounted configuration changes by where they point.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        seen.push((path, metadata.len(), metadata.modified().ok()));
    }
    seen.sort();
    Ok(seen)
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
