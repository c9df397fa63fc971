//! Reads the shadow policies at the start and when they change. Invalid ones are logged and
//! counted, and the former ones stay.

use std::sync::Arc;

use super::policy_folder::PolicyFolder;
use super::rounds::{FILES, Rounds, watched};
use crate::server::app::App;
use crate::store::Store;

pub(super) async fn refresh_shadow<S: Store>(app: Arc<App<S>>, mut folder: PolicyFolder) {
    let mut rounds = Rounds::new(FILES);
    let mut is_read = false;
    loop {
        let asked = rounds.next().await || !is_read;
        watched("the shadow policies", folder.refresh_shadow(&app, asked)).await;
        is_read = true;
    }
}

impl PolicyFolder {
    /// Reads the shadow policies if they have changed, or if `asked`.
    async fn refresh_shadow<S: Store>(&mut self, app: &App<S>, asked: bool) {
        let (Some(shadow), Some(read)) = (&app.shadow, self.read_if_due(asked).await) else {
            return;
        };
        match read.policies {
            Ok(policies) => {
                let digest = policies.digest().to_owned();
                tracing::info!(
                    target: "atlasent::shadow",
                    policies = policies.len(),
                    digest,
                    "new shadow policies are compared"
                );
                shadow.replace(policies);
                app.metrics.count_shadow_reload("loaded");
            }
            Err(error) => {
                for problem in error.problems() {
                    tracing::error!(target: "atlasent::shadow", %problem, "shadow policies refused; the former ones stay");
                }
                app.metrics.count_shadow_reload("refused");
            }
        }
        self.last_read = read.listing;
    }
}
