//! The API keys, read again when they change; their creation and revocation go on the chain.

use std::sync::Arc;
use std::time::Duration;

use super::rounds::{Rounds, watched};
use crate::server::app::App;
use crate::server::log_limit::OUTAGES;
use crate::store::Store;

/// How often the version of the API keys is looked up: half of the second within which a change
/// is promised to count.
const PERIOD: Duration = Duration::from_millis(500);

pub(super) async fn refresh_keys<S: Store>(app: Arc<App<S>>) {
    let mut rounds = Rounds::new(PERIOD);
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
