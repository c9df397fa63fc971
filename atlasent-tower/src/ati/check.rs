//! Checks a request for an [`AtiLayer`](crate::AtiLayer): token, path, scopes and rates.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use ati_client::{Claims, RateLimiter, RateStore, Verifier};
use http::request::Parts;

use crate::challenge::ChallengeParameters;
use crate::{Refusal, Respond, Unauthenticated, bearer, check_request_path};

/// Marks a request that was admitted without a token.
#[derive(Clone, Copy)]
pub(crate) struct Anonymous;

/// The settings of an [`AtiLayer`](crate::AtiLayer).
pub(super) struct Config<S> {
    pub(super) verifier: Verifier,
    pub(super) optional: bool,
    pub(super) scopes: Vec<Scope>,
    pub(super) rates: Arc<RateLimiter<S>>,
    pub(super) challenge: ChallengeParameters,
    pub(super) responder: Arc<dyn Respond>,
}

/// A required scope.
#[derive(Clone)]
pub(super) enum Scope {
    Fixed(Arc<str>),
    /// Each request names the scope that it requires.
    FromRequest(Arc<ScopeFn>),
}

type ScopeFn = dyn Fn(&Parts) -> Result<String, Refusal> + Send + Sync;

impl<S: RateStore> Config<S> {
    /// Does every check that needs no waiting. Returns the call that is still to be counted, if the
    /// token has rates.
    pub(super) fn authenticate(
        &self,
        request: &mut Parts,
    ) -> Result<Option<PendingCount>, Refusal> {
        self.challenge.check()?;
        // Claims of an outer layer were verified by other rules and do not count here.
        request.extensions.remove::<Claims>();
        request.extensions.remove::<Anonymous>();
        let claims = match bearer::token(&request.headers)? {
            Some(token) => Some(self.verifier.verify(token)?),
            None if self.optional && self.scopes.is_empty() => None,
            None => return Err(Unauthenticated::NoToken.into()),
        };
        // Every later decision is about this path.
        check_request_path(request)?;
        let Some(claims) = claims else {
            request.extensions.insert(Anonymous);
            return Ok(None);
        };
        // Rates are read in any case: a token with unreadable rates is not accepted.
        let is_counted = !claims.rates()?.is_empty();
        let mut required = Vec::new();
        for scope in &self.scopes {
            let scope = scope.for_request(request)?;
            if !claims.scopes().grants(&scope)? {
                return Err(Refusal::MissingScope {
                    scope: scope.as_ref().to_owned(),
                });
            }
            // A call without rates to count needs no list, which saves the allocation.
            if is_counted {
                required.push(scope);
            }
        }
        let count = is_counted.then(|| PendingCount {
            claims: claims.clone(),
            required,
        });
        request.extensions.insert(claims);
        Ok(count)
    }
}

impl Scope {
    fn for_request(&self, request: &Parts) -> Result<Arc<str>, Refusal> {
        match self {
            Self::Fixed(scope) => Ok(Arc::clone(scope)),
            Self::FromRequest(scope) => {
                let scope = scope(request)?;
                // The request named the scope, so an invalid scope is the caller's mistake.
                ati_client::check_scope(&scope, [])
                    .map_err(|error| Refusal::BadRequest(error.to_string()))?;
                Ok(scope.into())
            }
        }
    }
}

/// A call that is still to be counted, with the scopes that it requires.
pub(super) struct PendingCount {
    claims: Claims,
    required: Vec<Arc<str>>,
}

impl PendingCount {
    pub(super) async fn count<S: RateStore>(
        &self,
        limiter: &RateLimiter<S>,
    ) -> Result<(), Refusal> {
        limiter
            .check_all(&self.claims, &self.required, SystemTime::now())
            .await
            .map_err(Refusal::from)
    }
}

impl<S> Clone for Config<S> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            optional: self.optional,
            scopes: self.scopes.clone(),
            rates: Arc::clone(&self.rates),
            challenge: self.challenge.clone(),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(scope) => fmt::Debug::fmt(scope, f),
            Self::FromRequest(_) => f.write_str("from the request"),
        }
    }
}
