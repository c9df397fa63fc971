//! Whether a token may be believed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::claims::AUDIENCE;
use crate::env::Environment;
use crate::jws::Compact;
use crate::payload::Payload;
use crate::{Claims, Error, ReplayGuard, VerifiedCache, VerifyingKey, clock};

/// How far clocks may be apart unless it is said.
const LEEWAY: Duration = Duration::from_secs(60);

/// Tells the tokens that may be believed from all others.
///
/// It is made once and asked for each token; its clones share what it remembers.
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
pub struct Verifier(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    key: VerifyingKey,
    audiences: Vec<String>,
    issuer: Option<String>,
    /// In seconds.
    leeway: u64,
    cache: Option<VerifiedCache>,
    replay_guard: Option<ReplayGuard>,
}

impl Verifier {
    /// A verifier of tokens that were signed with the key that belongs to `key`.
    pub fn builder(key: VerifyingKey) -> VerifierBuilder {
        VerifierBuilder {
            key,
            audiences: vec![AUDIENCE.to_owned()],
            issuer: None,
            leeway: LEEWAY,
            cache: None,
            replay_guard: None,
        }
    }

    /// The verifier that the environment describes: see [`VerifierBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if it names no key, [`Error::Environment`] if something in it cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        VerifierBuilder::from_env()?.build()
    }

    /// What the token says, if it may be believed now.
    ///
    /// # Errors
    ///
    /// Why it may not, with a variant of its own for each cause.
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        self.verify_at(token, SystemTime::now())
    }

    /// What the token says, if it may be believed at the time `now`.
    ///
    /// # Errors
    ///
    /// Why it may not, with a variant of its own for each cause.
    pub fn verify_at(&self, token: &str, now: SystemTime) -> Result<Claims, Error> {
        let rules = &*self.0;
        let now = clock::seconds(now);
        let claims = match &rules.cache {
            Some(cache) => cache.get_or(token, now, || rules.vouch(token))?,
            None => rules.vouch(token)?,
        };
        rules.check_time(&claims, now)?;
        if let Some(guard) = &rules.replay_guard {
            guard.admit(&claims, claims.exp().saturating_add(rules.leeway), now)?;
        }
        Ok(claims)
    }

    /// The tokens that need not be verified again, if it keeps any.
    #[must_use]
    pub fn cache(&self) -> Option<&VerifiedCache> {
        self.0.cache.as_ref()
    }
}

impl Rules {
    /// All that does not change with time.
    fn vouch(&self, token: &str) -> Result<Claims, Error> {
        let token = Compact::new(token)?;
        token.expect(self.key.algorithm())?;
        if !self.key.verifies(token.message(), &token.signature()?) {
            return Err(Error::BadSignature);
        }
        let payload = Payload::read(token.payload()?)?;
        if !payload.aud().iter().any(|aud| self.audiences.contains(aud)) {
            return Err(Error::WrongAudience);
        }
        // One that does not say whom it is from is not from whom it must be.
        if self.issuer.is_some() && self.issuer.as_deref() != payload.iss() {
            return Err(Error::WrongIssuer);
        }
        Ok(Claims::vouched(payload))
    }

    fn check_time(&self, claims: &Claims, now: u64) -> Result<(), Error> {
        if now > claims.exp().saturating_add(self.leeway) {
            return Err(Error::Expired {
                seconds_ago: now.saturating_sub(claims.exp()),
            });
        }
        for (claim, from) in [("nbf", claims.said().nbf), ("iat", Some(claims.iat()))] {
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

/// Puts a [`Verifier`] together. What is not set is: audience `ati-proxy`, any issuer, a leeway of a minute, nothing
/// remembered.
#[derive(Debug)]
#[must_use]
pub struct VerifierBuilder {
    key: VerifyingKey,
    audiences: Vec<String>,
    issuer: Option<String>,
    leeway: Duration,
    cache: Option<VerifiedCache>,
    replay_guard: Option<ReplayGuard>,
}

impl VerifierBuilder {
    /// A verifier as the environment describes it: the key as [`VerifyingKey::from_env`] has it, the audiences from
    /// `ATI_JWT_ACCEPTED_AUDIENCES` (separated by commas), else the one in `ATI_JWT_AUDIENCE`, else `ati-proxy`, and the
    /// issuer from `ATI_JWT_ISSUER`, if it is set.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if it names no key, [`Error::Environment`] if something in it cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_environment(&Environment::of_process())
    }

    pub(crate) fn from_environment(environment: &Environment<'_>) -> Result<Self, Error> {
        let builder = Verifier::builder(environment.verifying_key()?);
        Ok(Self {
            audiences: environment.audiences()?.unwrap_or(builder.audiences),
            issuer: environment.issuer()?,
            ..builder
        })
    }

    /// The one audience that tokens may be for.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// The audiences that tokens may be for: one of them is enough.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item: Into<String>>) -> Self {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Whom tokens must be from. One that does not say is refused.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// How far this machine's clock and the issuer's may be apart, in whole seconds, instead of a minute.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Remembers tokens that were verified, so that the next request with the same token costs less.
    pub fn cache(mut self, cache: VerifiedCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Lets each token through once.
    pub fn replay_guard(mut self, guard: ReplayGuard) -> Self {
        self.replay_guard = Some(guard);
        self
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyAudience`] if no audience is left, or one has no name; [`Error::EmptyIssuer`] if the issuer has none.
    pub fn build(self) -> Result<Verifier, Error> {
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(Error::EmptyAudience);
        }
        if self.issuer.as_deref() == Some("") {
            return Err(Error::EmptyIssuer);
        }
        Ok(Verifier(Arc::new(Rules {
            key: self.key,
            audiences: self.audiences,
            issuer: self.issuer,
            leeway: self.leeway.as_secs(),
            cache: self.cache,
            replay_guard: self.replay_guard,
        })))
    }
}
