//! Verifies the signature, audience, issuer and times of tokens.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::claims::AUDIENCE;
use crate::claims_set::ClaimsSet;
use crate::env::EnvVars;
use crate::error::whole_seconds;
use crate::jws::Compact;
use crate::{Claims, Error, ReplayGuard, VerifiedCache, VerifyingKey, clock, delegation};

/// The default leeway.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);

/// The maximum leeway of a verifier: 10 minutes. A longer leeway would keep expired tokens alive.
pub const MAX_LEEWAY: Duration = Duration::from_secs(600);

/// Verifies tokens, and returns their claims.
///
/// Build a verifier once, at start-up. Clones are cheap, and share the cache and the replay guard.
///
/// # Several keys
///
/// Replace a key without an interruption in three steps: give every verifier the new key beside the
/// old one, let the issuer sign with the new key, and remove the old key once its last token has
/// expired. [`builder`](Self::builder) takes the keys, the newest first.
///
/// - A token without `kid` is tried with each key of its algorithm, in order. Only a wrong
///   signature leads to the next key.
/// - A token with a `kid` is tried only with the keys of that [id](VerifyingKey::id). If no key has
///   it, the keys without an id are tried. If every key has another id, the token is refused with
///   [`Error::UnknownKey`]: its key was removed, or was never configured.
///
/// The key determines the algorithm in each case.
///
/// # Delegated tokens
///
/// A token that was [delegated](crate::delegate) is refused with [`Error::MoreThanParent`] if it,
/// or any token before it in the chain, exceeds the one that it was delegated from.
///
/// ```
/// use ati_client::{Claims, Error, SigningKey, Verifier, issue};
///
/// let old = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let new = SigningKey::from_hex("c81f0e6b5f2c0a9d3e4b7a8190a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3")?;
/// let token = issue(&Claims::builder("agent-7").build()?, &old)?;
///
/// let both = Verifier::builder([new.verifying_key(), old.verifying_key()]).build()?;
/// assert!(both.verify(&token).is_ok());
/// let one = Verifier::builder(new.verifying_key()).build()?;
/// assert_eq!(one.verify(&token), Err(Error::BadSignature));
/// # Ok::<(), Error>(())
/// ```
///
/// # Example
///
/// ```
/// use ati_client::{Claims, Error, SigningKey, Verifier, issue};
///
/// let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let verifier = Verifier::builder(key.verifying_key())
///     .audience("billing")
///     .issuer("ati-orchestrator")
///     .build()?;
///
/// let claims = Claims::builder("agent-7").audience("billing").build()?;
/// assert_eq!(verifier.verify(&issue(&claims, &key)?)?.sub(), "agent-7");
///
/// let claims = Claims::builder("agent-7").audience("shipping").build()?;
/// assert_eq!(verifier.verify(&issue(&claims, &key)?), Err(Error::WrongAudience));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier(Arc<VerifierConfig>);

#[derive(Debug)]
struct VerifierConfig {
    /// At least one key, the newest first.
    keys: Vec<VerifyingKey>,
    audiences: Vec<String>,
    issuer: Option<String>,
    /// In seconds.
    leeway: u64,
    cache: Option<VerifiedCache>,
    replay_guard: Option<ReplayGuard>,
}

impl Verifier {
    /// Starts a verifier that accepts tokens of `keys`: one key, or several, the newest first.
    pub fn builder(keys: impl Into<Vec<VerifyingKey>>) -> VerifierBuilder {
        VerifierBuilder {
            keys: keys.into(),
            audiences: vec![AUDIENCE.to_owned()],
            issuer: None,
            leeway: LEEWAY,
            cache: None,
            replay_guard: None,
        }
    }

    /// Builds a verifier from environment variables: see [`VerifierBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if no variable names a key, [`Error::Environment`] if a variable is
    /// invalid.
    pub fn from_env() -> Result<Self, Error> {
        VerifierBuilder::from_env()?.build()
    }

    /// Verifies a token at the current time, and returns its claims.
    ///
    /// # Errors
    ///
    /// Returns why the token is refused. Each reason has a variant of its own in [`Error`].
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        self.verify_at(token, SystemTime::now())
    }

    /// Verifies a token at the time `now`, and returns its claims.
    ///
    /// # Errors
    ///
    /// Returns why the token is refused. Each reason has a variant of its own in [`Error`].
    pub fn verify_at(&self, token: &str, now: SystemTime) -> Result<Claims, Error> {
        let config = &*self.0;
        let now = clock::unix_seconds(now);
        let claims = match &config.cache {
            Some(cache) => cache.get_or(token, now, || config.verify_timeless(token))?,
            None => config.verify_timeless(token)?,
        };
        config.check_time(&claims, now)?;
        if let Some(guard) = &config.replay_guard {
            guard.mark_used(&claims, claims.exp().saturating_add(config.leeway), now)?;
        }
        Ok(claims)
    }

    /// Returns the cache of verified tokens, if the verifier has one.
    #[must_use]
    pub fn cache(&self) -> Option<&VerifiedCache> {
        self.0.cache.as_ref()
    }
}

impl VerifierConfig {
    /// Verifies everything that does not depend on the current time.
    fn verify_timeless(&self, token: &str) -> Result<Claims, Error> {
        let token = Compact::new(token)?;
        self.check_signature(token)?;
        let claims = ClaimsSet::read(token.payload()?)?;
        if !claims.aud().iter().any(|aud| self.audiences.contains(aud)) {
            return Err(Error::WrongAudience);
        }
        // A token without an issuer is not from the required issuer.
        if self.issuer.is_some() && self.issuer.as_deref() != claims.iss() {
            return Err(Error::WrongIssuer);
        }
        delegation::check(claims.registered())?;
        Ok(Claims::verified(claims, self.leeway))
    }

    fn check_signature(&self, token: Compact<'_>) -> Result<(), Error> {
        let header = token.header()?;
        let keys = || self.keys_for(header.key_id.as_deref());
        let expected = keys().next().ok_or(Error::UnknownKey)?.algorithm();
        let mut keys = keys()
            .filter(|key| key.algorithm().name() == header.algorithm)
            .peekable();
        if keys.peek().is_none() {
            return Err(Error::WrongAlgorithm { expected });
        }
        let signature = token.signature()?;
        if keys.any(|key| key.verifies(token.message(), &signature)) {
            Ok(())
        } else {
            Err(Error::BadSignature)
        }
    }

    /// Returns the keys, of any algorithm, that may have signed a token with this `kid`.
    fn keys_for<'a>(&'a self, key_id: Option<&'a str>) -> impl Iterator<Item = &'a VerifyingKey> {
        let is_known = key_id.is_some_and(|id| self.keys.iter().any(|key| key.id() == Some(id)));
        self.keys.iter().filter(move |key| match key_id {
            None => true,
            Some(_) if is_known => key.id() == key_id,
            Some(_) => key.id().is_none(),
        })
    }

    fn check_time(&self, claims: &Claims, now: u64) -> Result<(), Error> {
        claims.require_current_at(now)?;
        for (claim, from) in [
            ("nbf", claims.registered().nbf),
            ("iat", Some(claims.iat())),
        ] {
            if let Some(from) = from
                && from > now.saturating_add(self.leeway)
            {
                return Err(Error::NotYetValid {
                    claim,
                    seconds_ahead: from.saturating_sub(now),
                });
            }
        }
        Ok(())
    }
}

/// Builds a [`Verifier`].
///
/// The defaults: audience `ati-proxy`, any issuer, a leeway of one minute, no cache, no replay
/// guard. A second call of a method replaces the value of the first.
#[derive(Debug)]
#[must_use]
pub struct VerifierBuilder {
    keys: Vec<VerifyingKey>,
    audiences: Vec<String>,
    issuer: Option<String>,
    leeway: Duration,
    cache: Option<VerifiedCache>,
    replay_guard: Option<ReplayGuard>,
}

impl VerifierBuilder {
    /// Starts a verifier from environment variables.
    ///
    /// [`VerifyingKey::from_env`] reads the keys. The accepted audiences are those in
    /// `ATI_JWT_ACCEPTED_AUDIENCES` (separated by commas), else the one in `ATI_JWT_AUDIENCE`, else
    /// `ati-proxy`. The required issuer is the one in `ATI_JWT_ISSUER`, if the variable is set.
    /// Later calls of the builder's methods replace these values.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if no variable names a key, [`Error::Environment`] if a variable is
    /// invalid.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&EnvVars::from_process())
    }

    pub(crate) fn from_environment(environment: &EnvVars<'_>) -> Result<Self, Error> {
        let builder = Verifier::builder(environment.verifying_keys()?);
        Ok(Self {
            audiences: environment.audiences()?.unwrap_or(builder.audiences),
            issuer: environment.issuer()?,
            ..builder
        })
    }

    /// Sets the only accepted audience. It replaces every audience that was set before.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// Sets the accepted audiences: a token must be for at least one of them. They replace every
    /// audience that was set before.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item: Into<String>>) -> Self {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the required issuer. A token from another issuer, or without one, is refused. A second
    /// call replaces the issuer.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the leeway: how far this machine's clock and the issuer's may differ, in whole seconds
    /// and at most [`MAX_LEEWAY`]. The default is one minute. A second call replaces the leeway.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Caches the claims of verified tokens, so that the same token is not verified in full again.
    /// A second call replaces the cache.
    pub fn cache(mut self, cache: VerifiedCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Accepts each token only once. A second call replaces the guard.
    pub fn replay_guard(mut self, guard: ReplayGuard) -> Self {
        self.replay_guard = Some(guard);
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// [`Error::NoVerifyingKey`] if there is no key; [`Error::EmptyAudience`] if there is no
    /// audience, or an empty one; [`Error::EmptyIssuer`] if the required issuer is empty;
    /// [`Error::LeewayTooLong`] if the leeway is above [`MAX_LEEWAY`].
    pub fn build(self) -> Result<Verifier, Error> {
        if self.keys.is_empty() {
            return Err(Error::NoVerifyingKey);
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(Error::EmptyAudience);
        }
        if self.issuer.as_deref() == Some("") {
            return Err(Error::EmptyIssuer);
        }
        if self.leeway > MAX_LEEWAY {
            return Err(Error::LeewayTooLong {
                seconds: whole_seconds(self.leeway),
            });
        }
        Ok(Verifier(Arc::new(VerifierConfig {
            keys: self.keys,
            audiences: self.audiences,
            issuer: self.issuer,
            leeway: self.leeway.as_secs(),
            cache: self.cache,
            replay_guard: self.replay_guard,
        })))
    }
}
