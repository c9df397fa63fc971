//! What a token says to someone who may believe it, and how it is put together.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::payload::{Payload, Said};
use crate::{Error, RateSpec, Scopes, SigningKey, clock, jws, scope};

/// Whom a token is for unless it is said: the proxy.
pub(crate) const AUDIENCE: &str = "ati-proxy";
/// Whom a token is from unless it is said.
const ISSUER: &str = "ati-orchestrator";
/// How long a token lives unless it is said.
const TTL: Duration = Duration::from_secs(3600);

/// What a verified token says, or one that is to be issued: who the agent is, and what it may use.
///
/// They come from [`Verifier::verify`](crate::Verifier::verify), which vouches for them, or from a
/// [builder](Claims::builder), where the program itself does. Cloning them is cheap.
///
/// ```
/// use std::time::Duration;
/// use ati_client::{Claims, RateSpec, Unit};
///
/// let claims = Claims::builder("agent-7")
///     .scope("tool:github:*")
///     .rate("tool:github:*", RateSpec::new(10, Unit::Hour))
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims(Arc<Payload>);

impl Claims {
    /// Claims for the agent `sub`, for a token that is yet to be issued.
    pub fn builder(sub: impl Into<String>) -> ClaimsBuilder {
        ClaimsBuilder {
            sub: sub.into(),
            aud: vec![AUDIENCE.to_owned()],
            iss: Some(ISSUER.to_owned()),
            jti: None,
            scopes: Vec::new(),
            lifetime: Lifetime::For(TTL),
            iat: None,
            rates: Vec::new(),
            job_id: None,
            sandbox_id: None,
        }
    }

    /// Claims that a signature vouches for.
    pub(crate) fn vouched(payload: Payload) -> Self {
        Self(Arc::new(payload))
    }

    /// What the token grants.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.0.said().scope
    }
}

impl Deref for Claims {
    type Target = Payload;

    fn deref(&self) -> &Payload {
        &self.0
    }
}

/// Issues a token: signs the claims as they are, `jti` included, so that the same claims twice are the same token twice.
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
/// [`Error::TooLong`] if the token would be one that nobody accepts, [`Error::NoRandomness`] if it cannot be signed.
pub fn issue(claims: &Claims, key: &SigningKey) -> Result<String, Error> {
    jws::sign(claims.to_json(), key)
}

/// Puts claims together. What is not set is: audience `ati-proxy`, issuer `ati-orchestrator`, a fresh UUID for `jti`, an
/// hour to live, and no scope.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClaimsBuilder {
    sub: String,
    aud: Vec<String>,
    iss: Option<String>,
    jti: Option<String>,
    scopes: Vec<String>,
    lifetime: Lifetime,
    iat: Option<u64>,
    rates: Vec<(String, RateSpec)>,
    job_id: Option<String>,
    sandbox_id: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Lifetime {
    For(Duration),
    Until(u64),
}

impl ClaimsBuilder {
    /// Whom the token is for, instead of `ati-proxy`.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience])
    }

    /// Whom the token is for, if they are several. ATI's own proxy reads one only.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item: Into<String>>) -> Self {
        self.aud = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Whom the token is from, instead of `ati-orchestrator`.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.iss = Some(issuer.into());
        self
    }

    /// The token does not say whom it is from.
    pub fn no_issuer(mut self) -> Self {
        self.iss = None;
        self
    }

    /// One more scope.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// More scopes. [`parse_scopes`](crate::parse_scopes) takes a text apart that holds several.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item: Into<String>>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// How long the token lives, in whole seconds, instead of an hour.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetime = Lifetime::For(ttl);
        self
    }

    /// When the token expires, in Unix seconds.
    pub fn expires_at(mut self, exp: u64) -> Self {
        self.lifetime = Lifetime::Until(exp);
        self
    }

    /// When the token was issued, in Unix seconds, instead of now.
    pub fn issued_at(mut self, iat: u64) -> Self {
        self.iat = Some(iat);
        self
    }

    /// The id of the token, instead of a fresh UUID.
    pub fn jti(mut self, jti: impl Into<String>) -> Self {
        self.jti = Some(jti.into());
        self
    }

    /// One more rate: how often the agent may call what `pattern` covers, if its scopes let it. The last one for a
    /// pattern counts.
    pub fn rate(mut self, pattern: impl Into<String>, rate: RateSpec) -> Self {
        let pattern = pattern.into();
        self.rates.retain(|(other, _)| *other != pattern);
        self.rates.push((pattern, rate));
        self
    }

    /// The job that the agent works on.
    pub fn job_id(mut self, job_id: impl Into<String>) -> Self {
        self.job_id = Some(job_id.into());
        self
    }

    /// The sandbox that the agent runs in.
    pub fn sandbox_id(mut self, sandbox_id: impl Into<String>) -> Self {
        self.sandbox_id = Some(sandbox_id.into());
        self
    }

    /// The claims, ready to be issued.
    ///
    /// # Errors
    ///
    /// [`Error::BadClaim`] if there is no agent, or the time of expiry cannot be told; [`Error::EmptyAudience`] if the token
    /// is for nobody; [`Error::BadScope`] if a scope, or the pattern of a rate, is empty or holds white space.
    pub fn build(self) -> Result<Claims, Error> {
        if self.sub.is_empty() {
            return Err(Error::BadClaim {
                claim: "sub",
                reason: "it is empty; name the agent",
            });
        }
        if self.aud.is_empty() || self.aud.iter().any(String::is_empty) {
            return Err(Error::EmptyAudience);
        }
        for (pattern, _) in &self.rates {
            scope::check_text(pattern)?;
        }
        let iat = self
            .iat
            .unwrap_or_else(|| clock::seconds(SystemTime::now()));
        let exp = match self.lifetime {
            Lifetime::Until(exp) => Some(exp),
            Lifetime::For(ttl) => iat.checked_add(ttl.as_secs()),
        };
        let said = Said {
            sub: self.sub,
            aud: self.aud,
            iat,
            exp: exp.ok_or(Error::BadClaim {
                claim: "exp",
                reason: "it is too far in the future; give the token less time",
            })?,
            nbf: None,
            scope: Scopes::new(scope::build_scope_string(NONE, NONE, self.scopes)?),
            iss: self.iss,
            jti: self.jti.or_else(|| Some(Uuid::new_v4().to_string())),
            rates: self
                .rates
                .into_iter()
                .map(|(pattern, rate)| (pattern, rate.to_string()))
                .collect(),
            job_id: self.job_id,
            sandbox_id: self.sandbox_id,
        };
        Payload::write(said).map(Claims::vouched)
    }
}

const NONE: [&str; 0] = [];
