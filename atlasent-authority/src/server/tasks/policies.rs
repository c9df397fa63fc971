//! Reads the policies again when they change. Valid policies are recorded and take effect; invalid
//! policies are recorded as refused.

use std::sync::Arc;

use atlasent::Error;

use super::policy_folder::{FolderState, Listing, PolicyFolder, list};
use super::rounds::{FILES, Rounds, watched};
use crate::policy::{Policies, PolicyError};
use crate::server::app::App;
use crate::server::entry::deadline::Deadline;
use crate::server::off_thread::off_thread;
use crate::server::organizations::ServedOrg;
use crate::store::Store;

/// The name of the thread that reads policies.
const THREAD: &str = "atlasent-policies";

pub(super) async fn refresh_policies<S: Store>(app: Arc<App<S>>, mut policies: PolicyFolder) {
    let mut rounds = Rounds::new(FILES);
    loop {
        let asked = rounds.next().await;
        let reading = policies.refresh(&app, app.local(), asked);
        watched("the policies", reading).await;
    }
}

/// The policies of a folder, and the listing with which they were read.
pub(super) struct ReadPolicies {
    pub(super) policies: Result<Arc<Policies>, PolicyError>,
    pub(super) listing: Option<Listing>,
}

impl PolicyFolder {
    /// Reads the folder if it has changed and is complete, or if `asked`. Returns `None` if it is
    /// not due, or if it changed while it was read.
    pub(super) async fn read_if_due(&mut self, asked: bool) -> Option<ReadPolicies> {
        let (path, last_read) = (self.path.clone(), self.last_read.clone());
        let examining = move || FolderState::read(&path, last_read.as_ref());
        let state = off_thread(THREAD, examining).await.ok()?;
        if !self.is_due(&state, asked, std::time::Instant::now()) {
            return None;
        }
        let listing = state.listing;
        let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
        let reading = move || (shared.read(&path), list(&path).ok());
        let (policies, after) = off_thread(THREAD, reading).await.ok()?;
        // The folder changed while it was read: an incomplete set must not decide.
        (after == listing).then_some(ReadPolicies { policies, listing })
    }

    /// Reads the policies of an organization again if they have changed, or if a signal asks for it.
    pub(super) async fn refresh<S: Store>(
        &mut self,
        app: &App<S>,
        org: &ServedOrg<S>,
        asked: bool,
    ) {
        let Some(ReadPolicies { policies, listing }) = self.read_if_due(asked).await else {
            return;
        };
        let org_id = &org.id;
        let deadline = Deadline::after(app.settings.request_timeout);
        let recorded = match policies {
            Ok(policies) => {
                let count = policies.len();
                let replacing = org.authority.replace_shared_policies(policies);
                let recorded = deadline.run(replacing).await;
                if matches!(recorded, Ok(Ok(()))) {
                    org.policies_loaded();
                    tracing::info!(target: "atlasent", %org_id, policies = count, "new policies decide");
                    app.metrics.reloads.count("loaded");
                }
                recorded
            }
            Err(error) => {
                app.metrics.reloads.count("refused");
                let recording = org.authority.policies_refused(&error);
                let recorded = deadline.run(recording).await;
                // A refusal that cannot be recorded is repeated in each round.
                if matches!(recorded, Ok(Ok(()))) || !self.recording.is_failing() {
                    for problem in error.problems() {
                        tracing::error!(target: "atlasent", %org_id, %problem, "policies refused; {}", consequence(org));
                    }
                }
                recorded
            }
        };
        match recorded {
            Ok(Ok(())) => {
                self.recording.succeeded();
                self.last_read = listing;
            }
            // Policies with another schema than the authority requires: the refusal is recorded.
            Ok(Err(error @ Error::Config(_))) => {
                tracing::error!(target: "atlasent", %org_id, problem = %error, "policies refused; {}", consequence(org));
                app.metrics.reloads.count("refused");
                self.recording.succeeded();
                self.last_read = listing;
            }
            // Policies that are not recorded do not take effect. The next round tries again.
            Ok(Err(error)) if self.recording.failed() => {
                tracing::error!(target: "atlasent", %org_id, %error, "new policies cannot be recorded");
            }
            Err(error) if self.recording.failed() => {
                let code = error.code;
                tracing::error!(target: "atlasent", %org_id, code, "new policies cannot be recorded");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Returns what follows from policies that are refused, for the log.
fn consequence<S>(org: &ServedOrg<S>) -> &'static str {
    match org.has_policies() {
        true => "the former ones stay",
        false => "the organization decides nothing",
    }
}
