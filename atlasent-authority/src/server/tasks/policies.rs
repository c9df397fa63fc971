//! Policies that are read again when they change: taken if they are good, refused and on record if
//! they are not.

use std::sync::Arc;

use super::policy_folder::{PolicyFolder, examine, look};
use super::rounds::{FILES, Rounds, watched};
use crate::policy::Policies;
use crate::server::app::App;
use crate::server::entry::deadline::Deadline;
use crate::server::off_thread::off_thread;
use crate::store::Store;

/// The name of the thread that reads policies.
const THREAD: &str = "atlasent-policies";

pub(super) async fn refresh_policies<S: Store>(app: Arc<App<S>>, mut policies: PolicyFolder) {
    let mut rounds = Rounds::new(FILES);
    loop {
        let asked = rounds.next().await;
        watched("the policies", policies.refresh(&app, asked)).await;
    }
}

impl PolicyFolder {
    /// Reads them again if they have changed, or if that is asked for.
    async fn refresh<S: Store>(&mut self, app: &App<S>, asked: bool) {
        let (path, seen) = (self.path.clone(), self.seen.clone());
        let examining = move || examine(&path, seen.as_ref());
        let Ok(state) = off_thread(THREAD, examining).await else {
            return;
        };
        if !self.is_due(&state, asked, std::time::Instant::now()) {
            return;
        }
        let now = state.look;
        let path = self.path.clone();
        let reading = move || (Policies::from_dir(&path), look(&path).ok());
        let Ok((read, after)) = off_thread(THREAD, reading).await else {
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
