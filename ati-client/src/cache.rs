//! The claims of tokens that were verified, so that the same token need not be verified on each
//! request.

use std::fmt;

use moka::sync::Cache;

use crate::crypto::{Digest, digest};
use crate::{Claims, Error};

/// Keeps the claims of tokens that one verifier has verified.
///
/// An entry's key is the SHA-256 of the whole token. Time is checked on every use, and a token is
/// forgotten after its `exp`. Refusals are not kept.
///
/// A cache is moved into one verifier and cannot be shared with another. The keys, audiences and
/// issuer of a verifier never change, so verifying an entry again would give the same result. A
/// verifier that is built without a removed key starts with an empty cache, and refuses the tokens
/// of that key.
///
/// ```
/// use ati_client::{Claims, SigningKey, VerifiedCache, Verifier, issue};
///
/// # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let verifier = Verifier::builder(key.verifying_key()).cache(VerifiedCache::new(1_000)).build()?;
/// let token = issue(&Claims::builder("agent-7").build()?, &key)?;
/// assert_eq!(verifier.verify(&token)?, verifier.verify(&token)?);
///
/// // Say, because a token was stolen and its key is being replaced.
/// verifier.cache().unwrap().flush();
/// # Ok::<(), ati_client::Error>(())
/// ```
pub struct VerifiedCache(Cache<Digest, Claims>);

impl VerifiedCache {
    /// A cache for at most `tokens` tokens; the ones used least make room.
    #[must_use]
    pub fn new(tokens: u64) -> Self {
        Self(Cache::new(tokens))
    }

    /// Forgets all of them.
    pub fn flush(&self) {
        self.0.invalidate_all();
    }

    /// How many tokens it remembers.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }

    /// Whether the cache is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The claims of `token`, which `verify` finds out if it must.
    pub(crate) fn get_or(
        &self,
        token: &str,
        now: u64,
        verify: impl FnOnce() -> Result<Claims, Error>,
    ) -> Result<Claims, Error> {
        let key = digest(&[token]);
        if let Some(claims) = self.0.get(&key) {
            if now <= claims.exp() {
                return Ok(claims);
            }
            self.0.invalidate(&key);
        }
        let claims = verify()?;
        if now <= claims.exp() {
            self.0.insert(key, claims.clone());
        }
        Ok(claims)
    }
}

impl fmt::Debug for VerifiedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCache").finish_non_exhaustive()
    }
}
