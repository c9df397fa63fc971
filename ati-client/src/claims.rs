//! Trusted claims: those of a verified token, and those that a program builds to issue.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::claims_set::ClaimsSet;
use crate::delegation::Actors;
use crate::escape::excerpt;
use crate::registered::{AtiClaim, RegisteredClaims};
use crate::{Error, RateSpec, Scopes, SigningKey, clock, jws, scope, verifier};

/// The default audience: ATI's proxy.
pub(crate) const AUDIENCE: &str = "ati-proxy";
/// The default issuer.
const ISSUER: &str = "ati-orchestrator";
/// The default lifetime of a token.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// The claims of a verified token, or of a token to be issued: the agent, its scopes and its rates.
///
/// [`Verifier::verify`](crate::Verifier::verify) returns the claims of a token that it has
/// verified, and a program builds its own with [`Claims::builder`]. The claims of an unverified
/// token are [`Unverified`](crate::Unverified), and never become `Claims`. Cloning is cheap.
///
/// ```
/// use std::time::Duration;
/// use ati_client::{Claims, RateSpec, RateUnit};
///
/// let claims = Claims::builder("agent-7")
///     .scope("tool:github:*")
///     .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour))
///     .ttl(Duration::from_secs(600))
///     .job_id("job-12")
///     .build()?;
///
/// assert_eq!(claims.sub(), "agent-7");
/// assert_eq!(claims.aud(), ["ati-proxy"]);
/// assert_eq!(claims.iss(), Some("ati-orchestrator"));
/// assert_eq!(claims.exp(), claims.iat() + 600);
/// assert!(claims.scopes().grants("tool:github:search")?);
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Claims {
    set: Arc<ClaimsSet>,
    /// The leeway of the verifier, in seconds.
    leeway: u64,
}

impl Claims {
    /// Starts the claims of a token to be issued to the agent `sub`.
    pub fn builder(sub: impl Into<String>) -> ClaimsBuilder {
        ClaimsBuilder {
            sub: sub.into(),
            aud: vec![AUDIENCE.to_owned()],
            iss: Some(ISSUER.to_owned()),
            jti: None,
            scopes: Vec::new(),
            ttl: None,
            exp: None,
            iat: None,
            rates: Vec::new(),
            job_id: None,
            sandbox_id: None,
        }
    }

    /// Wraps claims that a verifier with this leeway, in seconds, has verified.
    pub(crate) fn verified(claims: ClaimsSet, leeway: u64) -> Self {
        Self {
            set: Arc::new(claims),
            leeway,
        }
    }

    /// Writes the payload of a token from claims that a builder has built.
    pub(crate) fn built(registered: RegisteredClaims) -> Result<Self, Error> {
        let claims = ClaimsSet::write(registered)?;
        Ok(Self::verified(claims, verifier::LEEWAY.as_secs()))
    }

    /// Returns the scopes that the token grants.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.set.registered().scope
    }

    /// Checks at the time `now` that the token is not expired, with the leeway of its verifier. The
    /// leeway of claims that a program built is one minute.
    ///
    /// [`Verifier::verify`](crate::Verifier::verify) includes this check. Repeat it after a wait,
    /// such as one for approvers.
    ///
    /// # Errors
    ///
    /// [`Error::Expired`] if the token has expired, and the leeway has passed.
    pub fn require_current(&self, now: SystemTime) -> Result<(), Error> {
        self.require_current_at(clock::unix_seconds(now))
    }

    pub(crate) fn require_current_at(&self, now: u64) -> Result<(), Error> {
        if now > self.exp().saturating_add(self.leeway) {
            return Err(Error::Expired {
                seconds_ago: now.saturating_sub(self.exp()),
            });
        }
        Ok(())
    }
}

/// Compares the tokens. The leeway of their verifiers does not count.
impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Eq for Claims {}

impl Deref for Claims {
    type Target = ClaimsSet;

    fn deref(&self) -> &ClaimsSet {
        &self.set
    }
}

/// Signs claims, and returns the token.
///
/// The claims are signed unchanged, `jti` included, so two tokens of the same claims have the same
/// id. The header has the [id](SigningKey::id) of the key as `kid`, if the key has one.
///
/// ```
/// use ati_client::{Claims, SigningKey, Verifier, issue};
///
/// let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let claims = Claims::builder("agent-7").scope("tool:web_search").build()?;
/// let token = issue(&claims, &key)?;
///
/// assert_eq!(Verifier::builder(key.verifying_key()).build()?.verify(&token)?, claims);
/// # Ok::<(), ati_client::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::TooLong`] if the token would be longer than
/// [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES), [`Error::NoRandomness`] if it cannot be signed.
pub fn issue(claims: &Claims, key: &SigningKey) -> Result<String, Error> {
    jws::sign(claims.to_json(), key)
}

/// Builds [`Claims`].
///
/// The defaults: audience `ati-proxy`, issuer `ati-orchestrator`, a random UUID for `jti`, a
/// lifetime of one hour, no scope and no rate. The claim `ati` is always issued, with its version.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClaimsBuilder {
    sub: String,
    aud: Vec<String>,
    iss: Option<String>,
    jti: Option<String>,
    scopes: Vec<String>,
    ttl: Option<Duration>,
    exp: Option<u64>,
    iat: Option<u64>,
    rates: Vec<(String, RateSpec)>,
    job_id: Option<String>,
    sandbox_id: Option<String>,
}

impl ClaimsBuilder {
    /// Sets the only audience of the token. It replaces every audience that was set before.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// Sets the audiences of the token. They replace every audience that was set before. ATI's own
    /// proxy accepts only tokens with a single audience.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item: Into<String>>) -> Self {
        self.aud = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the issuer. A second call, or [`no_issuer`](Self::no_issuer), replaces it.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.iss = Some(issuer.into());
        self
    }

    /// Removes the issuer. A later call of [`issuer`](Self::issuer) sets it again.
    pub fn no_issuer(mut self) -> Self {
        self.iss = None;
        self
    }

    /// Adds a scope.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Adds scopes. [`parse_scopes`](crate::parse_scopes) splits a text with several scopes.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item: Into<String>>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Sets the token's lifetime, in whole seconds after it was issued. The default is an hour. A
    /// second call replaces the lifetime.
    ///
    /// Where [`expires_at`](Self::expires_at) is set too, the token expires at the earlier of the
    /// two times.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the time of expiry, in Unix seconds. A second call replaces the time.
    ///
    /// Where [`ttl`](Self::ttl) is set too, the token expires at the earlier of the two times.
    pub fn expires_at(mut self, exp: u64) -> Self {
        self.exp = Some(exp);
        self
    }

    /// Sets the time of issue, in Unix seconds. The default is now. A second call replaces the
    /// time.
    pub fn issued_at(mut self, iat: u64) -> Self {
        self.iat = Some(iat);
        self
    }

    /// Sets the id of the token. The default is a fresh UUID. A second call replaces the id.
    pub fn jti(mut self, jti: impl Into<String>) -> Self {
        self.jti = Some(jti.into());
        self
    }

    /// Adds a rate: how often the agent may call the scopes that `pattern` covers. A rate grants no
    /// scope.
    ///
    /// A token has one rate for each pattern. A second rate for a pattern does not replace the
    /// first: [`build`](Self::build) fails unless both are equal.
    pub fn rate(mut self, pattern: impl Into<String>, rate: RateSpec) -> Self {
        self.rates.push((pattern.into(), rate));
        self
    }

    /// Sets the job that the agent works on. A second call replaces the job.
    pub fn job_id(mut self, job_id: impl Into<String>) -> Self {
        self.job_id = Some(job_id.into());
        self
    }

    /// Sets the sandbox that the agent runs in. A second call replaces the sandbox.
    pub fn sandbox_id(mut self, sandbox_id: impl Into<String>) -> Self {
        self.sandbox_id = Some(sandbox_id.into());
        self
    }

    /// Builds the claims.
    ///
    /// # Errors
    ///
    /// [`Error::BadClaim`] if the agent is empty, or the time of expiry is out of range;
    /// [`Error::EmptyAudience`] if there is no audience, or an empty one;
    /// [`Error::BadScope`] if a scope, or the pattern of a rate, is empty or holds white space;
    /// [`Error::TwoRates`] if one pattern has two different rates.
    pub fn build(self) -> Result<Claims, Error> {
        if self.sub.is_empty() {
            return Err(Error::BadClaim {
                claim: "sub",
                reason: "it is empty; name the agent",
            });
        }
        check_audiences(&self.aud)?;
        let iat = self
            .iat
            .unwrap_or_else(|| clock::unix_seconds(SystemTime::now()));
        let registered = RegisteredClaims {
            sub: self.sub,
            aud: self.aud,
            iat,
            exp: expiry(iat, self.ttl, self.exp)?,
            nbf: None,
            scope: Scopes::new(scope::build_scope_string(
                NO_SCOPES,
                NO_SCOPES,
                self.scopes,
            )?),
            iss: self.iss,
            jti: self.jti.or_else(|| Some(Uuid::new_v4().to_string())),
            ati: AtiClaim::new(unique_rates(self.rates)?),
            job_id: self.job_id,
            sandbox_id: self.sandbox_id,
            act: Actors::default(),
            delegation: Vec::new(),
        };
        Claims::built(registered)
    }
}

/// Fails if there is no audience, or an empty one.
pub(crate) fn check_audiences(audiences: &[String]) -> Result<(), Error> {
    match audiences.is_empty() || audiences.iter().any(String::is_empty) {
        true => Err(Error::EmptyAudience),
        false => Ok(()),
    }
}

/// Returns the time of expiry: the earlier of the two limits, the only one that is set, or the
/// default.
pub(crate) fn expiry(iat: u64, ttl: Option<Duration>, exp: Option<u64>) -> Result<u64, Error> {
    let ttl = match (ttl, exp) {
        (Some(ttl), _) => ttl,
        (None, Some(exp)) => return Ok(exp),
        (None, None) => TTL,
    };
    let after = iat.checked_add(ttl.as_secs());
    match (after, exp) {
        (Some(after), Some(exp)) => Ok(after.min(exp)),
        (Some(time), None) | (None, Some(time)) => Ok(time),
        (None, None) => Err(Error::BadClaim {
            claim: "exp",
            reason: "it is too far in the future; shorten the lifetime",
        }),
    }
}

/// Formats the rates, each pattern once. Fails if a pattern has two different rates.
pub(crate) fn unique_rates(rates: Vec<(String, RateSpec)>) -> Result<Vec<(String, String)>, Error> {
    let mut by_pattern = HashMap::new();
    let mut written = Vec::new();
    for (pattern, rate) in rates {
        scope::check_scope_text(&pattern)?;
        match by_pattern.insert(pattern.clone(), rate) {
            None => written.push((pattern, rate.to_string())),
            Some(other) if other == rate => {}
            Some(_) => {
                return Err(Error::TwoRates {
                    pattern: excerpt(&pattern),
                });
            }
        }
    }
    Ok(written)
}

pub(crate) const NO_SCOPES: [&str; 0] = [];
