//! When the keys of an issuer are fetched, and how long they are used.
//!
//! ```text
//! age of the keys   known `kid`                        unknown `kid`
//! up to 10 min      used                               fetched, at most every 30 s
//! up to 1 h         fetched; used if that fails        fetched, at most every 30 s
//! above             fetched; if that fails, an outage  the same
//! ```

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use atlasent::text::Escaped;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::error::OidcError;
use super::fetch::Issuer;
use super::keys::KeySet;
use crate::clock::Clock;

/// How long keys are used without asking the issuer.
const FRESH: Duration = Duration::from_secs(600);

/// How long keys are used while the issuer does not answer.
const USABLE: Duration = Duration::from_secs(3_600);

/// The shortest time between two fetches.
const PAUSE: Duration = Duration::from_secs(30);

/// The keys of an issuer. Clones share them.
#[derive(Clone)]
pub(super) struct KeyCache(Arc<Shared>);

struct Shared {
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
    /// Held during a fetch, so that fetches never overlap.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<KeySet>, Timestamp)>,
    /// The last fetch: when it began, and why it failed if it did.
    last: Option<(Timestamp, Option<String>)>,
}

impl KeyCache {
    pub(super) fn new(issuer: Issuer, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            issuer,
            clock,
            state: RwLock::default(),
            fetching: Mutex::default(),
        }))
    }

    /// Returns the keys, fetched anew if they are not fresh.
    pub(super) async fn current(&self) -> Result<Arc<KeySet>, OidcError> {
        if let Some(keys) = self.0.keys_of_age(FRESH) {
            return Ok(keys);
        }
        self.refresh(None).await;
        self.0.usable()
    }

    /// Returns the keys after these, if they could be fetched; else the same.
    pub(super) async fn newer_than(&self, known: &Arc<KeySet>) -> Result<Arc<KeySet>, OidcError> {
        self.refresh(Some(Arc::clone(known))).await;
        self.0.usable()
    }

    /// Fetches the keys, unless others than `known` are fresh by now. A caller that stops waiting
    /// does not stop the fetch, which others may wait for.
    async fn refresh(&self, known: Option<Arc<KeySet>>) {
        let shared = Arc::clone(&self.0);
        let fetch = tokio::spawn(async move {
            let _one_at_a_time = shared.fetching.lock().await;
            let is_known =
                |keys: &Arc<KeySet>| known.as_ref().is_some_and(|known| Arc::ptr_eq(keys, known));
            let fetched = shared
                .keys_of_age(FRESH)
                .is_some_and(|keys| !is_known(&keys));
            if !fetched && shared.may_fetch() {
                shared.fetch().await;
            }
        });
        if let Err(error) = fetch.await {
            tracing::error!(target: "atlasent", %error, "fetching the keys of an issuer broke off");
        }
    }
}

impl Shared {
    async fn fetch(&self) {
        let began = self.clock.now();
        // From here on the next fetch waits, even if this one never ends.
        self.change(|state| state.last = Some((began, None)));
        match self.issuer.keys().await {
            Ok(keys) => self.change(|state| state.keys = Some((Arc::new(keys), began))),
            Err(why) => {
                tracing::warn!(
                    target: "atlasent",
                    error = %Escaped::new(&why),
                    "the keys of an issuer could not be fetched"
                );
                self.change(|state| state.last = Some((began, Some(why))));
            }
        }
    }

    fn may_fetch(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let last = state.last.as_ref();
        last.is_none_or(|(began, _)| !self.is_younger(*began, PAUSE))
    }

    fn keys_of_age(&self, limit: Duration) -> Option<Arc<KeySet>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (keys, fetched) = state.keys.as_ref()?;
        (self.is_younger(*fetched, limit)).then(|| Arc::clone(keys))
    }

    fn usable(&self) -> Result<Arc<KeySet>, OidcError> {
        self.keys_of_age(USABLE).ok_or_else(|| {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let why = state.last.as_ref().and_then(|(_, why)| why.clone());
            OidcError::IssuerUnavailable(why.unwrap_or_else(|| "no answer yet".to_owned()))
        })
    }

    /// Returns whether so much time has not passed yet. A time in the future is that of a clock
    /// that was set back, and counts as long ago.
    fn is_younger(&self, time: Timestamp, limit: Duration) -> bool {
        let age = self.clock.now().duration_since(time);
        Duration::try_from(age).is_ok_and(|age| age < limit)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}
