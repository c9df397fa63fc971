//! Reads the API keys again when they change, or when a request has an unknown one, and records
//! created and revoked keys on the chains of their organizations.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use atlasent::Error;

use super::failure_log::FailureLog;
use super::rounds::{Rounds, watched};
use crate::keys::{ApiKey, RecordedKeys, record_keys};
use crate::local::{failed, unavailable};
use crate::server::api_keys::ApiKeysError;
use crate::server::app::App;
use crate::server::log_limit::OUTAGES;
use crate::store::{OrgId, Store};

/// How often the version of the API keys is read: half of the second within which a change is
/// promised to take effect.
const PERIOD: Duration = Duration::from_millis(500);

pub(super) async fn refresh_keys<S: Store>(app: Arc<App<S>>) {
    let mut rounds = Rounds::new(PERIOD);
    let mut events = KeyEvents::default();
    let mut log = FailureLog::default();
    app.keys.rereads.start();
    loop {
        tokio::select! {
            _ = rounds.next() => {}
            () = app.keys.rereads.requested() => {}
        }
        let round = app.keys.rereads.begin();
        let read = watched("the API keys", app.keys.refresh()).await;
        match &read {
            // A record with a shared key is logged each time it is read, since only that round
            // reports it.
            Some(Err(error @ ApiKeysError::SharedKey { .. })) => {
                tracing::error!(target: "atlasent", %error, "an API key is refused");
            }
            Some(Err(error)) if log.failed() => {
                tracing::error!(target: "atlasent", %error, "the API keys stay as they were");
            }
            Some(Ok(())) if log.succeeded() => {
                tracing::info!(target: "atlasent", "the API keys can be read again");
            }
            _ => {}
        }
        let is_read = matches!(read, Some(Ok(()) | Err(ApiKeysError::SharedKey { .. })));
        watched("the events of API keys", events.record(&app, is_read)).await;
        // So the event of a new key comes before those of the request that waits for the round.
        app.keys.rereads.end(round);
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
    /// The keys of each organization that were recorded last, as a hash.
    by_org: HashMap<OrgId, u64>,
    /// What the chains have recorded that the keys contradicted in the last round.
    contradicted: HashMap<OrgId, RecordedKeys>,
    /// Limits the log of failed attempts.
    log: FailureLog,
}

impl KeyEvents {
    /// Records the keys that were created or revoked, on the chains of their organizations. A
    /// failed attempt is repeated in the next round, and so is one whose keys contradict a chain.
    /// `is_read` tells whether this round has read the keys.
    async fn record<S: Store>(&mut self, app: &App<S>, is_read: bool) {
        let Some((version, keys)) = app.keys.stored_since(self.recorded).await else {
            return;
        };
        let mut by_org: HashMap<OrgId, Vec<ApiKey>> = HashMap::new();
        // An organization whose last key was deleted has an event, too.
        for org in self.by_org.keys().cloned().chain([OrgId::local()]) {
            by_org.entry(org).or_default();
        }
        for key in keys {
            by_org.entry(key.org_id.clone()).or_default().push(key);
        }
        let mut is_complete = true;
        let mut failure = None;
        for (org, keys) in by_org {
            let hash = hash(&keys);
            if self.by_org.get(&org) == Some(&hash) {
                continue;
            }
            // Only keys that were read since can be newer than the chain.
            let contradicted = self.contradicted.get(&org).filter(|_| is_read);
            match record_in(app, &org, &keys, contradicted).await {
                Ok(Recorded::All) => {
                    self.contradicted.remove(&org);
                    self.by_org.insert(org, hash);
                }
                Ok(Recorded::Contradicted(recorded)) => {
                    is_complete = false;
                    self.contradicted.insert(org, recorded);
                }
                // The keys of an organization that is not registered yet wait for it.
                Ok(Recorded::Unregistered) => is_complete = false,
                Err(error) => {
                    is_complete = false;
                    failure.get_or_insert((org, error));
                }
            }
        }
        if is_complete {
            self.recorded = version;
        }
        self.log(failure);
    }

    /// Logs the first failure of an attempt, or that attempts succeed again.
    fn log(&mut self, failure: Option<(OrgId, Error)>) {
        match failure {
            Some((org_id, error)) if self.log.failed() => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(target: "atlasent", %org_id, %error, cause, "changes of API keys cannot be recorded");
            }
            None if self.log.succeeded() => {
                tracing::info!(target: "atlasent", "changes of API keys are recorded again");
            }
            _ => {}
        }
    }
}

/// What became of the keys of an organization.
enum Recorded {
    /// The chain has recorded them.
    All,
    /// They contradict what the chain has recorded, and may be older.
    Contradicted(RecordedKeys),
    /// The organization is not registered.
    Unregistered,
}

/// Records the keys of an organization on its chain.
async fn record_in<S: Store>(
    app: &App<S>,
    org: &OrgId,
    keys: &[ApiKey],
    contradicted: Option<&RecordedKeys>,
) -> Result<Recorded, Error> {
    let clock = &*app.clock;
    let contradicted = if org.is_local() {
        let store = app.local().authority.store();
        record_keys(store, clock, keys, contradicted).await?
    } else {
        let Some(store) = app.organizations.store(org).await else {
            return Ok(Recorded::Unregistered);
        };
        let store = store.map_err(|error| unavailable(failed::KEYS, error))?;
        record_keys(&store, clock, keys, contradicted).await?
    };
    Ok(contradicted.map_or(Recorded::All, Recorded::Contradicted))
}

/// The hash of what the events of keys depend on.
fn hash(keys: &[ApiKey]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for key in keys {
        (&key.key_id, key.revoked_at.is_some()).hash(&mut hasher);
    }
    hasher.finish()
}
