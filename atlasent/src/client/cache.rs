//! The decision cache of `Client::evaluate`. Functions that return a permit never read it.

use std::fmt;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::Error;
use crate::canonical::sha256_hex;
use crate::wire::{EvaluateRequest, Evaluation};

/// The settings of the cache of allows that [`Client::evaluate`](crate::Client::evaluate) reads.
///
/// The cache key is the whole request. Refusals are not cached, so that a refused action is allowed
/// as soon as the cause of the refusal ends.
///
/// ```
/// use std::time::Duration;
/// use atlasent::{Client, client::DecisionCache};
///
/// let client = Client::builder()
///     .api_key("ask_test_0123456789")
///     .cache(DecisionCache::new(Duration::from_secs(5), 100))
///     .build()?;
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionCache {
    ttl: Duration,
    entries: usize,
}

impl DecisionCache {
    /// Creates a cache for about `entries` allows, each kept for `ttl`.
    /// [`build`](crate::client::ClientBuilder::build) rejects zero for either.
    #[must_use]
    pub fn new(ttl: Duration, entries: usize) -> Self {
        Self { ttl, entries }
    }
}

/// 1,024 entries, each kept for 30 seconds.
impl Default for DecisionCache {
    fn default() -> Self {
        Self::new(Duration::from_secs(30), 1024)
    }
}

/// The cached allows of one client, by the digest of the whole request.
pub(super) struct AllowCache {
    cache: Cache<String, (Instant, Evaluation)>,
    ttl: Duration,
}

impl AllowCache {
    pub(super) fn new(settings: &DecisionCache) -> Result<Self, Error> {
        if settings.entries == 0 || settings.ttl.is_zero() {
            return Err(Error::config(format!(
                "a cache of {} entries for {:?} keeps nothing: leave it out",
                settings.entries, settings.ttl
            )));
        }
        Ok(Self {
            cache: Cache::new(settings.entries),
            ttl: settings.ttl,
        })
    }

    pub(super) fn key(request: &EvaluateRequest) -> Result<String, Error> {
        let text = serde_json::to_vec(request)
            .map_err(|error| Error::invalid(format!("the request does not serialize: {error}")))?;
        Ok(sha256_hex(&[&text]))
    }

    pub(super) fn get(&self, key: &str, now: Instant) -> Option<Evaluation> {
        let (asked_at, allow) = self.cache.get(key)?;
        (now.saturating_duration_since(asked_at) < self.ttl).then_some(allow)
    }

    pub(super) fn insert(&self, key: String, evaluation: &Evaluation, asked_at: Instant) {
        if evaluation.decision.is_allow() {
            self.cache.insert(key, (asked_at, evaluation.clone()));
        }
    }
}

/// Prints no permit.
impl fmt::Debug for AllowCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllowCache")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PermitToken;
    use crate::{Agent, AnyAction, Decision};

    #[test]
    fn an_allow_is_kept_for_its_time() {
        let cache = AllowCache::new(&DecisionCache::default()).unwrap();
        let allow = Evaluation::allow(PermitToken::new("p").unwrap());
        let now = Instant::now();
        cache.insert("a".to_owned(), &allow, now);
        assert_eq!(cache.get("a", now + Duration::from_secs(29)), Some(allow));
        assert_eq!(cache.get("a", now + Duration::from_secs(30)), None);
        assert_eq!(cache.get("b", now), None);
    }

    #[test]
    fn a_refusal_is_not_kept() {
        let cache = AllowCache::new(&DecisionCache::default()).unwrap();
        for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
            let now = Instant::now();
            cache.insert("a".to_owned(), &Evaluation::refuse(decision, "no"), now);
            assert_eq!(cache.get("a", now), None);
        }
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = AllowCache::new(&DecisionCache::new(Duration::from_secs(30), 8)).unwrap();
        let allow = Evaluation::allow(PermitToken::new("p").unwrap());
        for n in 0..1000 {
            cache.insert(n.to_string(), &allow, Instant::now());
        }
        assert!(cache.cache.len() <= 8);
    }

    #[test]
    fn every_part_of_the_request_is_part_of_the_key() {
        let agent = |name: &str| Agent::new(name).unwrap();
        let action = AnyAction::new("deploy").unwrap();
        let with = |key: &str| action.clone().with_field(key, "x").unwrap();
        let request = |agent, action: &AnyAction| EvaluateRequest::new(agent, action).unwrap();
        let option = request(agent("a"), &action)
            .with_options(crate::wire::RequestOptions::default().environment("production"));
        let requests = [
            request(agent("a"), &action),
            request(agent("b"), &action),
            request(agent("a"), &AnyAction::new("other").unwrap()),
            request(agent("a"), &with("x")),
            request(agent("a"), &with("y")),
            request(agent("a"), &action.clone().with_resource("r")),
            request(agent("a"), &action).shadow(true),
            option,
        ];
        let keys: std::collections::HashSet<_> = requests
            .iter()
            .map(|request| AllowCache::key(request).unwrap())
            .collect();
        assert_eq!(keys.len(), requests.len());
    }
}
