//! The settings of a gate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent::wire::RequestOptions;

use super::{Gate, Shared};
use crate::mapping::Mapping;

/// How long a held operation waits by default. Clients give up on a request after a minute by
/// default, so the wait ends before that.
const MAX_WAIT: Duration = Duration::from_secs(45);
/// How often the progress of a wait is reported by default.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// How long the answers for lists are kept by default.
const LIST_CACHE: Duration = Duration::from_secs(5);
/// The shortest interval between two reports.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Builds a [`Gate`]. A second call of a method replaces the first.
#[must_use = "a builder does nothing until `build`"]
pub struct GateBuilder {
    shared: Shared,
}

impl GateBuilder {
    pub(super) fn new(authority: Arc<dyn DynAuthority>, mapping: Mapping) -> Self {
        Self {
            shared: Shared {
                authority,
                mapping,
                options: RequestOptions::default(),
                max_wait: MAX_WAIT,
                progress_interval: PROGRESS_INTERVAL,
                catalogue: super::Catalogue::default(),
                shadow: super::ShadowAnswers::new(LIST_CACHE),
                lists_changed: tokio::sync::watch::Sender::new(()),
                #[cfg(feature = "ati")]
                rates: super::rates::in_this_process(),
            },
        }
    }

    /// Sets how long a held operation waits for people. The default is 45 seconds; zero refuses a
    /// held operation at once.
    pub fn max_wait(mut self, at_most: Duration) -> Self {
        self.shared.max_wait = at_most;
        self
    }

    /// Sets how often the progress of a wait is reported. The default is 5 seconds, and the least
    /// 10 milliseconds.
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.shared.progress_interval = interval.max(SHORTEST_INTERVAL);
        self
    }

    /// Sets the optional fields of each request to the authority, such as the environment.
    pub fn options(mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) -> Self {
        self.shared.options = set(RequestOptions::default());
        self
    }

    /// Sets how long the answers are kept that lists are made of. The default is 5 seconds; zero
    /// asks the authority for each list. No call is decided on by a kept answer.
    pub fn list_cache(mut self, keep: Duration) -> Self {
        self.shared.shadow = super::ShadowAnswers::new(keep);
        self
    }

    /// Sets the limiter that counts calls for the rates of tokens, such as one that several
    /// processes share. The default counts in this process, in at most 10,000 windows.
    #[cfg(feature = "ati")]
    pub fn rates<S: ati_client::RateStore + 'static>(
        mut self,
        limiter: impl Into<Arc<ati_client::RateLimiter<S>>>,
    ) -> Self {
        let limiter: Arc<ati_client::RateLimiter<S>> = limiter.into();
        self.shared.rates = limiter;
        self
    }

    /// Builds the gate.
    #[must_use]
    pub fn build(self) -> Gate {
        Gate {
            shared: Arc::new(self.shared),
        }
    }
}

impl fmt::Debug for GateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateBuilder").finish_non_exhaustive()
    }
}
