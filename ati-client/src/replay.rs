//! Accepts each token only once.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::crypto::{Digest, digest};
use crate::{Claims, Error};

/// Accepts each token once, by its id (`jti`).
///
/// The guard keeps a digest of each id until the token has expired. Two tokens with the same id
/// count as one, even if different keys signed them. A guard that is full of unexpired tokens
/// refuses every new token. A token without `jti` is refused.
///
/// ```
/// use ati_client::{Claims, Error, ReplayGuard, SigningKey, Verifier, issue};
///
/// # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let verifier = Verifier::builder(key.verifying_key()).replay_guard(ReplayGuard::new(10_000)).build()?;
/// let token = issue(&Claims::builder("agent-7").build()?, &key)?;
/// assert!(verifier.verify(&token).is_ok());
/// assert_eq!(verifier.verify(&token), Err(Error::Replayed));
/// # Ok::<(), Error>(())
/// ```
pub struct ReplayGuard {
    capacity: usize,
    used: Mutex<UsedTokens>,
}

#[derive(Default)]
struct UsedTokens {
    ids: HashSet<Digest>,
    /// The ids, sorted by the last second in which the token is valid.
    by_expiry: BTreeSet<(u64, Digest)>,
    /// The latest time of any call. The ids of tokens that expired before it have been removed, so
    /// these tokens are refused even if the clock is set back.
    latest: u64,
}

impl ReplayGuard {
    /// Creates a guard that remembers at most `capacity` tokens, each in about 100 bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            used: Mutex::default(),
        }
    }

    /// Marks a token as used until `valid_until`. Fails if it has been used before.
    pub(crate) fn mark_used(
        &self,
        claims: &Claims,
        valid_until: u64,
        now: u64,
    ) -> Result<(), Error> {
        let id = claims.jti().ok_or(Error::MissingClaim { claim: "jti" })?;
        let id = digest(&[id]);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.remove_expired(now);
        if valid_until < used.latest {
            return Err(Error::Expired {
                seconds_ago: used.latest.saturating_sub(claims.exp()),
            });
        }
        if used.ids.contains(&id) {
            return Err(Error::Replayed);
        }
        if used.ids.len() >= self.capacity {
            return Err(Error::ReplayGuardFull {
                capacity: self.capacity,
            });
        }
        used.ids.insert(id);
        used.by_expiry.insert((valid_until, id));
        Ok(())
    }
}

impl UsedTokens {
    fn remove_expired(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        while let Some(&(valid_until, id)) = self.by_expiry.first()
            && valid_until < self.latest
        {
            self.by_expiry.pop_first();
            self.ids.remove(&id);
        }
    }
}

impl fmt::Debug for ReplayGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayGuard")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
