//! Caches the claims of verified tokens, so that a token is not verified in full on each request.

use std::fmt;

use quick_cache::sync::Cache;

use crate::crypto::{Digest, digest};
use crate::{Claims, Error};

/// Caches the claims of the tokens that one verifier has verified.
///
/// The key of an entry is the SHA-256 of the whole token. The times of a token are checked on every
/// use, and an entry is removed after the token's `exp`. Refused tokens are not cached.
///
/// A cache belongs to one verifier. The keys, audiences and issuer of a verifier never change, so
/// verifying a cached token again would give the same result. To withdraw a key, build a verifier
/// without it: its cache starts empty, and it refuses the tokens of that key.
///
/// ```
/// use ati_client::{Claims, SigningKey, VerifiedCache, Verifier, issue};
///
/// # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let verifier = Verifier::builder(key.verifying_key()).cache(VerifiedCache::new(1_000)).build()?;
/// let token = issue(&Claims::builder("agent-7").build()?, &key)?;
/// assert_eq!(verifier.verify(&token)?, verifier.verify(&token)?);
///
/// // For example, because a token was stolen and its key is being replaced.
/// verifier.cache().unwrap().flush();
/// # Ok::<(), ati_client::Error>(())
/// ```
pub struct VerifiedCache(Cache<Digest, Claims>);

impl VerifiedCache {
    /// Creates a cache for about `tokens` tokens. A full cache evicts the tokens used least.
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        Self(Cache::new(tokens))
    }

    /// Removes all entries.
    pub fn flush(&self) {
        self.0.clear();
    }

    /// Returns the number of cached tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the cache is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the cached claims of `token`, or calls `verify` and caches what it returns.
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
            self.0.remove(&key);
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
