//! Reads the API keys again when they change, and records created and revoked keys on the chain.

use std::sync::Arc;
use std::time::Duration;

use super::rounds::{Rounds, watched};
use crate::keys::record_keys;
use crate::server::app::App;
use crate::server::log_limit::OUTAGES;
use crate::store::Store;

/// How often the version of the API keys is read: half of the second within which a change is
/// promised to take effect.
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
        for (kind, suppressed) in OUTAGES.take_unreported() {
            tracing::warn!(target: "atlasent", suppressed, "{kind}: lines were suppressed");
        }
    }
}

/// What this process has recorded of the keys.
#[derive(Default)]
struct KeyEvents {
    /// The version of the keys that was recorded last.
    recorded: u64,
    /// Whether the last attempt failed, and was logged.
    failed: bool,
}

impl KeyEvents {
    /// Records the keys that were created or revoked. A failed attempt is repeated in the next
    /// round.
    async fn record<S: Store>(&mut self, app: &App<S>) {
        let Some((version, keys)) = app.keys.stored_since(self.recorded).await else {
            return;
        };
        let (store, clock) = (app.authority.store(), &*app.authority.clock);
        match record_keys(store, clock, &keys).await {
            Ok(()) => {
                *self = Self {
                    recorded: version,
                    failed: false,
                }
            }
            // An outage gets one line, however long it is.
            Err(error) if !self.failed => {
                self.failed = true;
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(target: "atlasent", %error, cause, "changes of API keys cannot be recorded");
            }
            Err(_) => {}
        }
    }
}
