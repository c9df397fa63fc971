//! Reads the policies again when they change. Valid policies are recorded and take effect; invalid
//! policies are recorded as refused.

use std::sync::Arc;

use super::policy_folder::{FolderState, PolicyFolder, list};
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
    /// Reads the policies again if they have changed, or if a signal asks for it.
    async fn refresh<S: Store>(&mut self, app: &App<S>, asked: bool) {
        let (path, last_read) = (self.path.clone(), self.last_read.clone());
        let examining = move || FolderState::read(&path, last_read.as_ref());
        let Ok(state) = off_thread(THREAD, examining).await else {
            return;
        };
        if !self.is_due(&state, asked, std::time::Instant::now()) {
            return;
        }
        let listing = state.listing;
        let path = self.path.clone();
        let reading = move || (Policies::from_dir(&path), list(&path).ok());
        let Ok((read, after)) = off_thread(THREAD, reading).await else {
            return;
        };
        // The folder changed while it was read: an incomplete set must not decide.
        if after != listing {
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
                    app.metrics.count_reload("loaded");
                }
                recorded
            }
            Err(error) => {
                for problem in error.problems() {
                    tracing::error!(target: "atlasent", %problem, "policies refused; the former ones stay");
                }
                app.metrics.count_reload("refused");
                let recording = app.authority.policies_refused(&error);
                deadline.run(recording).await
            }
        };
        match recorded {
            Ok(Ok(())) => self.last_read = listing,
            // Policies that are not recorded do not take effect. The next round tries again.
            Ok(Err(error)) => {
                tracing::error!(target: "atlasent", %error, "new policies cannot be recorded");
            }
            Err(error) => {
                let code = error.code;
                tracing::error!(target: "atlasent", code, "new policies cannot be recorded");
            }
        }
    }
}
