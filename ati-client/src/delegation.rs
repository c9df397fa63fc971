//! Delegation: an agent's token is exchanged for a narrower one, with which another agent acts for
//! it.
//!
//! A worked example. `agent-7` holds a token for `tool:github:*`, at most `10/hour`, and hands its
//! helper a token for `tool:github:search`. The helper hands it on to `crawler`:
//!
//! ```text
//! sub         agent-7                                the subject stays: all act for `agent-7`
//! act         {sub: crawler, act: {sub: helper}}     the chain, the current actor outermost
//! scope       tool:github:search                     what the token grants
//! ati.rate    {tool:github:*: 10/hour}               every rate of the parent, or a lower one
//! delegation  [{the grants of agent-7's token}, {the grants of helper's token}]
//! ```
//!
//! `act` is the claim of RFC 8693 §4.1. `delegation` is ours: it lets a verifier check from the
//! token alone that each link narrows the one before, and lets a rate limiter count a call against
//! the limits of every token in the chain. Verifiers that know neither claim see a token of the
//! subject with fewer scopes and lower rates.

use std::time::{Duration, SystemTime};

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::claims::{self, NO_SCOPES};
use crate::escape::excerpt;
use crate::json::not_null;
use crate::registered::{AtiClaim, Rates, RegisteredClaims};
use crate::{Claims, Error, RateSpec, Scopes, build_scope_string, clock, parse_scopes, scope};

/// The maximum number of actors in a token: a token can be delegated this many times in a row.
pub const MAX_ACTORS: usize = 8;

/// Starts the claims of a delegate's token: `actor` acts for the agent of `parent`, with at most
/// the scopes, the rates, the audiences and the lifetime of `parent`.
///
/// The holder of the signing key exchanges a verified token for the new one (RFC 8693): an agent
/// asks its orchestrator, since its own token cannot sign. [`issue`](crate::issue) signs the
/// claims.
///
/// The new token keeps the subject (`sub`) of its parent, and adds `actor` to the chain of actors
/// (`act`), which [`actors`](crate::ClaimsSet::actors) returns. So policies for the subject apply
/// to its delegates, and a delegate never gets more by a policy of its own. Each token in the chain
/// is described in the claim `delegation`, which every [`Verifier`](crate::Verifier) checks.
///
/// ```
/// use std::time::Duration;
/// use ati_client::{Claims, Error, RateSpec, RateUnit, SigningKey, Verifier, delegate, issue};
///
/// let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// let verifier = Verifier::builder(key.verifying_key()).build()?;
/// let token = Claims::builder("agent-7")
///     .scope("tool:github:*")
///     .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour))
///     .build()?;
/// let parent = verifier.verify(&issue(&token, &key)?)?;
///
/// let child = delegate(&parent, "helper").scope("tool:github:search").ttl(Duration::from_secs(60));
/// let child = verifier.verify(&issue(&child.build()?, &key)?)?;
/// assert_eq!(child.sub(), "agent-7");
/// assert_eq!(child.actors().collect::<Vec<_>>(), ["helper"]);
/// assert_eq!(child.rates()?, parent.rates()?);
///
/// let more = delegate(&child, "crawler").scope("tool:github:delete").build();
/// assert!(matches!(more, Err(Error::MoreThanParent { claim: "scope", .. })));
/// # Ok::<(), Error>(())
/// ```
pub fn delegate(parent: &Claims, actor: impl Into<String>) -> DelegateBuilder {
    DelegateBuilder {
        parent: parent.clone(),
        actor: actor.into(),
        aud: None,
        jti: None,
        scopes: Vec::new(),
        ttl: None,
        exp: None,
        iat: None,
        rates: Vec::new(),
        sandbox_id: None,
    }
}

/// Builds the [`Claims`] of a delegate's token: see [`delegate`].
///
/// The defaults: the audiences, issuer, job, sandbox and rates of the parent, a random UUID for
/// `jti`, a lifetime of one hour that ends with the parent's, and no scope. Claims of the parent
/// that this crate does not know are not copied.
#[derive(Clone, Debug)]
#[must_use]
pub struct DelegateBuilder {
    parent: Claims,
    actor: String,
    aud: Option<Vec<String>>,
    jti: Option<String>,
    scopes: Vec<String>,
    ttl: Option<Duration>,
    exp: Option<u64>,
    iat: Option<u64>,
    rates: Vec<(String, RateSpec)>,
    sandbox_id: Option<String>,
}

impl DelegateBuilder {
    /// Adds a scope. A scope of the parent has to cover it.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.scopes([scope])
    }

    /// Adds scopes. [`parse_scopes`] splits a text with several scopes.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item: Into<String>>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Sets the audiences of the token, each of them an audience of the parent. They replace every
    /// audience that was set before.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item: Into<String>>) -> Self {
        self.aud = Some(audiences.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the token's lifetime, in whole seconds after it was issued. A lifetime that is longer
    /// than the parent's ends with the parent's. A second call replaces the lifetime.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the time of expiry, in Unix seconds. A time after the parent's expiry is replaced by
    /// the parent's. A second call replaces the time. Where [`ttl`](Self::ttl) is set too, the
    /// token expires at the earlier of the two times.
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

    /// Adds a rate. For a pattern of the parent it replaces the parent's rate, and has to be as low
    /// or lower. The delegate's calls also count against the parent's rates.
    pub fn rate(mut self, pattern: impl Into<String>, rate: RateSpec) -> Self {
        self.rates.push((pattern.into(), rate));
        self
    }

    /// Sets the sandbox that the delegate runs in. A second call replaces the sandbox.
    pub fn sandbox_id(mut self, sandbox_id: impl Into<String>) -> Self {
        self.sandbox_id = Some(sandbox_id.into());
        self
    }

    /// Builds the claims.
    ///
    /// # Errors
    ///
    /// [`Error::MoreThanParent`] if the parent does not cover a scope, an audience or a rate;
    /// [`Error::TooManyActors`] if the chain would have more than [`MAX_ACTORS`] actors;
    /// [`Error::Expired`] if the parent has expired at the time of issue; [`Error::BadClaim`] if
    /// the actor is empty; [`Error::BadRate`] if a rate of the parent is malformed; otherwise as
    /// [`ClaimsBuilder::build`](crate::ClaimsBuilder::build).
    pub fn build(self) -> Result<Claims, Error> {
        let parent = self.parent.registered();
        let actors = parent.act.followed_by(self.actor)?;
        let aud = self.aud.unwrap_or_else(|| parent.aud.clone());
        claims::check_audiences(&aud)?;
        let iat = self
            .iat
            .unwrap_or_else(|| clock::unix_seconds(SystemTime::now()));
        if parent.exp < iat {
            return Err(Error::Expired {
                seconds_ago: iat.saturating_sub(parent.exp),
            });
        }
        let ttl = match (self.ttl, self.exp) {
            (None, None) => Some(claims::TTL),
            (ttl, _) => ttl,
        };
        let latest = self.exp.unwrap_or(u64::MAX).min(parent.exp);
        let mut rates = claims::unique_rates(self.rates)?;
        for (pattern, rate) in &parent.ati.rate.0 {
            if !rates.iter().any(|(own, _)| own == pattern) {
                rates.push((pattern.clone(), rate.clone()));
            }
        }
        let mut delegation = parent.delegation.clone();
        delegation.push(ParentToken::new(parent));
        let registered = RegisteredClaims {
            sub: parent.sub.clone(),
            aud,
            iat,
            exp: claims::expiry(iat, ttl, Some(latest))?,
            nbf: parent.nbf,
            scope: Scopes::new(build_scope_string(NO_SCOPES, NO_SCOPES, self.scopes)?),
            iss: parent.iss.clone(),
            jti: self.jti.or_else(|| Some(Uuid::new_v4().to_string())),
            ati: AtiClaim::new(rates),
            job_id: parent.job_id.clone(),
            sandbox_id: self.sandbox_id.or_else(|| parent.sandbox_id.clone()),
            act: actors,
            delegation,
        };
        check(&registered)?;
        Claims::built(registered)
    }
}

/// The value of `act` (RFC 8693 §4.1): the agents that act for the subject, the first one first, so
/// that the current actor is the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actors(pub(crate) Vec<String>);

impl Actors {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the nested objects of the claim. Members other than `sub` and `act` are ignored.
    pub(crate) fn read(mut act: &Value) -> Result<Self, Error> {
        const WRONG_TYPE: Error = Error::WrongType {
            claim: "act",
            expected: "an object with a string `sub` that is not empty, and optionally such an object `act`",
        };
        let mut actors = Vec::new();
        loop {
            let sub = act.get("sub").and_then(Value::as_str);
            actors.push(
                sub.filter(|sub| !sub.is_empty())
                    .ok_or(WRONG_TYPE)?
                    .to_owned(),
            );
            if actors.len() > MAX_ACTORS {
                return Err(Error::TooManyActors);
            }
            match act.get("act") {
                Some(earlier) => act = earlier,
                None => break,
            }
        }
        actors.reverse();
        Ok(Self(actors))
    }

    /// Returns the chain with `actor` as the current actor.
    fn followed_by(&self, actor: String) -> Result<Self, Error> {
        if actor.is_empty() {
            return Err(Error::BadClaim {
                claim: "act",
                reason: "the actor is empty; name the agent that acts",
            });
        }
        if self.0.len() >= MAX_ACTORS {
            return Err(Error::TooManyActors);
        }
        let mut actors = self.0.clone();
        actors.push(actor);
        Ok(Self(actors))
    }
}

impl Serialize for Actors {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Act<'a> {
            sub: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            act: Option<Box<Act<'a>>>,
        }
        let nested = self.0.iter().fold(None, |earlier, sub| {
            let act = earlier.map(Box::new);
            Some(Act { sub, act })
        });
        nested.serialize(json)
    }
}

/// One token in the claim `delegation`, the first one first: what the tokens after it may not
/// exceed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParentToken {
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    jti: Option<String>,
    aud: Vec<String>,
    exp: u64,
    scope: String,
    #[serde(default, skip_serializing_if = "Rates::is_empty")]
    pub(crate) rate: Rates,
}

impl ParentToken {
    fn new(claims: &RegisteredClaims) -> Self {
        Self {
            jti: claims.jti.clone(),
            aud: claims.aud.clone(),
            exp: claims.exp,
            scope: claims.scope.as_str().to_owned(),
            rate: claims.ati.rate.clone(),
        }
    }

    /// Checks that this token exceeds `parent` in nothing.
    fn check_within(&self, parent: &Self) -> Result<(), Error> {
        let more = |claim: &'static str, value: &str| {
            let value = excerpt(value);
            Err(Error::MoreThanParent { claim, value })
        };
        if let Some(other) = self.aud.iter().find(|aud| !parent.aud.contains(aud)) {
            return more("aud", other);
        }
        if self.exp > parent.exp {
            return more("exp", &self.exp.to_string());
        }
        let is_covered =
            |child: &&str| parse_scopes(&parent.scope).any(|held| scope::includes(held, child));
        if let Some(other) = parse_scopes(&self.scope).find(|scope| !is_covered(scope)) {
            return more("scope", other);
        }
        let own = self.rate.parsed()?;
        for (pattern, limit) in parent.rate.parsed()? {
            let own = own.iter().find(|(own, _)| *own == pattern);
            if !own.is_some_and(|(_, rate)| rate.is_within(limit)) {
                return more("ati.rate", pattern);
            }
        }
        Ok(())
    }
}

/// Checks the claim `delegation`: it has no more tokens than there are actors, and each token, that
/// of `claims` included, exceeds the one before it in nothing.
pub(crate) fn check(claims: &RegisteredClaims) -> Result<(), Error> {
    if claims.delegation.is_empty() {
        return Ok(());
    }
    if claims.delegation.len() > claims.act.0.len() {
        return Err(Error::BadDelegation {
            reason: "it has more tokens than `act` has actors",
        });
    }
    let current = ParentToken::new(claims);
    let tokens = claims.delegation.iter().chain([&current]);
    tokens
        .clone()
        .zip(tokens.skip(1))
        .try_for_each(|(parent, child)| child.check_within(parent))
}
