//! Who asks: ATI tokens at the door.
//!
//! [`AtiLayer`] is the layer, `service.rs` what it wraps services in. What both do to a request is
//! [`AtiLayer::admit`], and it is all here.

mod service;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use ati_client::{Claims, MemoryRates, RateLimiter, RateStore, Verifier};
use http::request::Parts;
use tower_layer::Layer;

pub use service::{AtiFuture, AtiService};

use crate::challenge::Protection;
use crate::{ProblemDetails, Refusal, Respond, Unauthenticated, bearer, check_request_path};

/// How many subjects times patterns are counted by default.
const WINDOWS: usize = 10_000;

/// Marks a request that was admitted without a token.
#[derive(Clone, Copy)]
pub(crate) struct Anonymous;

/// Lets a request through when its ATI token says who is asking, and what that agent may use.
///
/// The token stands in `Authorization: Bearer <token>` (RFC 6750). There must be exactly one such
/// header; a token that may not be believed is answered with 401, a path that is not in normal form
/// (RFC 3986 §6.2.2) with 400, a scope that is not granted with 403, and a rate that is used up
/// with 429. The verified [`Claims`] are put into the request's extensions.
///
/// ```
/// use ati_client::{ReplayGuard, VerifiedCache, SigningKey, Verifier};
/// use atlasent_tower::AtiLayer;
///
/// # let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// // In a service: `Verifier::from_env()?`.
/// let verifier = Verifier::builder(key.verifying_key()).cache(VerifiedCache::new(10_000)).build()?;
/// let any_agent = AtiLayer::new(verifier.clone());
/// let search = AtiLayer::new(verifier).scope("tool:github:search");
///
/// // Each token once: for what must not be repeated.
/// let strict = Verifier::builder(key.verifying_key()).replay_guard(ReplayGuard::new(10_000)).build()?;
/// let once = AtiLayer::new(strict);
/// # Ok::<(), ati_client::Error>(())
/// ```
///
/// # Rates
///
/// A token's rates are for scopes. Of all the scopes that a layer requires, every rate that covers
/// one is counted, and each of them once for a call, whatever number of the scopes it covers. A
/// call that one of the rates refuses is counted in none. Where no scope is required, nothing says
/// what is called, and only rates for `*` count. A token without rates costs nothing.
///
/// Calls are counted in this process, by a [`RateLimiter`] for 10,000 subjects times patterns;
/// [`rates`](Self::rates) brings another one. Each layer that a request goes through counts for
/// itself: two layers that share a limiter count the request twice.
///
/// # CORS
///
/// A browser sends the preflight of a cross-origin request (`OPTIONS`, Fetch §3.2.2) without a
/// token. So a CORS layer, such as `tower_http::cors::CorsLayer`, stands **outside** of this one:
/// it answers preflights by itself, and lets pages read the refusals.
///
/// ```text
/// CorsLayer → AtiLayer → service        preflights are answered, everything else needs a token
/// AtiLayer → CorsLayer → service        preflights are refused with 401, and browsers send nothing else
/// ```
///
/// For pages that read the challenge, the CORS layer has to expose `WWW-Authenticate`.
pub struct AtiLayer<S = MemoryRates> {
    config: Arc<Config<S>>,
}

struct Config<S> {
    verifier: Verifier,
    optional: bool,
    scopes: Vec<Scope>,
    rates: Arc<RateLimiter<S>>,
    protection: Protection,
    responder: Arc<dyn Respond>,
}

#[derive(Clone)]
enum Scope {
    Fixed(Arc<str>),
    From(Arc<ScopeOf>),
}

type ScopeOf = dyn Fn(&Parts) -> Result<String, Refusal> + Send + Sync;

impl AtiLayer {
    /// A layer that lets every agent through whose token `verifier` believes. The verifier's cache
    /// and replay guard, if it has them, hold here as well.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self {
            config: Arc::new(Config {
                verifier,
                optional: false,
                scopes: Vec::new(),
                rates: Arc::new(RateLimiter::new(WINDOWS)),
                protection: Protection::default(),
                responder: Arc::new(ProblemDetails),
            }),
        }
    }
}

impl<S: RateStore> AtiLayer<S> {
    /// Also lets requests through that have no token at all. One with a token that is not accepted
    /// is refused all the same. A second call changes nothing, and a required scope, whenever it is
    /// added, requires a token.
    ///
    /// What needs an agent further in (`ProtectLayer`, `Ati`) answers anonymous requests with 401.
    #[must_use]
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }

    /// Requires a scope, such as `tool:github:search`, of every request. A second call adds: all
    /// scopes are required, and the call is counted for the rates of each, as [above](Self#rates).
    #[must_use]
    pub fn scope(self, required: impl Into<Arc<str>>) -> Self {
        let required = required.into();
        self.with(|config| config.scopes.push(Scope::Fixed(required)))
    }

    /// Requires the scope that a request itself names, such as `tool:` and the name of the tool in
    /// its path. A second call adds, as with [`scope`](Self::scope).
    ///
    /// ```
    /// # use atlasent_tower::{AtiLayer, Refusal};
    /// # fn layer(layer: AtiLayer) -> AtiLayer {
    /// layer.scope_from(|request| {
    ///     let tool = request.uri.path().strip_prefix("/tools/");
    ///     let tool = tool.ok_or_else(|| Refusal::bad_request("it names no tool"))?;
    ///     Ok(format!("tool:{tool}"))
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn scope_from(
        self,
        required: impl Fn(&Parts) -> Result<String, Refusal> + Send + Sync + 'static,
    ) -> Self {
        let required = Arc::new(required);
        self.with(|config| config.scopes.push(Scope::From(required)))
    }

    /// Names the realm in the challenges of this layer and of everything inside it (RFC 9110
    /// §11.5). A second call replaces it.
    ///
    /// A realm that is not printable ASCII is a misconfiguration: every request is refused with
    /// 500.
    ///
    /// ```
    /// # use ati_client::Verifier;
    /// # use atlasent_tower::AtiLayer;
    /// # fn layer(verifier: Verifier) -> AtiLayer {
    /// AtiLayer::new(verifier)
    ///     .realm("clinic")
    ///     .resource_metadata("https://clinic.example/.well-known/oauth-protected-resource")
    /// # }
    /// // WWW-Authenticate: Bearer realm="clinic", resource_metadata="https://clinic.example/.well-known/oauth-protected-resource"
    /// ```
    #[must_use]
    pub fn realm(self, realm: impl AsRef<str>) -> Self {
        self.with(|config| config.protection.set_realm(realm.as_ref()))
    }

    /// Says in challenges where the metadata of this protected resource is (RFC 9728 §5.1), as in
    /// [`realm`](Self::realm). A second call replaces it.
    ///
    /// A URL that is not absolute, of `https` or `http`, without user and fragment, is a
    /// misconfiguration: every request is refused with 500.
    #[must_use]
    pub fn resource_metadata(self, url: impl AsRef<str>) -> Self {
        self.with(|config| config.protection.set_resource_metadata(url.as_ref()))
    }

    /// Counts calls with another limiter, such as one with room for more agents, or one that
    /// several processes share. A second call replaces it.
    #[must_use]
    pub fn rates<S2: RateStore>(self, limiter: impl Into<Arc<RateLimiter<S2>>>) -> AtiLayer<S2> {
        let config = Arc::unwrap_or_clone(self.config);
        AtiLayer {
            config: Arc::new(Config {
                verifier: config.verifier,
                optional: config.optional,
                scopes: config.scopes,
                rates: limiter.into(),
                protection: config.protection,
                responder: config.responder,
            }),
        }
    }

    /// Answers refusals by another responder than [`ProblemDetails`]. A second call replaces it.
    #[must_use]
    pub fn respond_with(self, responder: impl Respond) -> Self {
        let responder = Arc::new(responder);
        self.with(|config| config.responder = responder)
    }

    fn with(self, change: impl FnOnce(&mut Config<S>)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        Self {
            config: Arc::new(config),
        }
    }

    /// Does to a request what the layer does: verifies the token, checks the scopes, counts the
    /// call, and puts the verified [`Claims`] into the extensions.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] if it may not go on.
    pub async fn admit(&self, request: &mut Parts) -> Result<(), Refusal> {
        match self.config.identify(request)? {
            Some(count) => count.take(&self.config.rates).await,
            None => Ok(()),
        }
    }
}

impl<S: RateStore> Config<S> {
    /// Does all that takes no waiting. What is left to do is to count the call, if the token has
    /// rates.
    fn identify(&self, request: &mut Parts) -> Result<Option<Count>, Refusal> {
        self.protection.check()?;
        // What another layer found out by its own rules does not count here.
        request.extensions.remove::<Claims>();
        request.extensions.remove::<Anonymous>();
        let claims = match bearer::token(&request.headers)? {
            Some(token) => Some(self.verifier.verify(token)?),
            None if self.optional && self.scopes.is_empty() => None,
            None => return Err(Unauthenticated::NoToken.into()),
        };
        // Whatever is decided further in is decided on this path.
        check_request_path(request)?;
        let Some(claims) = claims else {
            request.extensions.insert(Anonymous);
            return Ok(None);
        };
        // Read in any case: a token whose rates cannot be read is not accepted.
        let is_counted = !claims.rates()?.is_empty();
        let mut required = Vec::new();
        for scope in &self.scopes {
            let scope = scope.required_by(request)?;
            if !claims.scopes().grants(&scope)? {
                return Err(Refusal::MissingScope {
                    scope: scope.as_ref().to_owned(),
                });
            }
            // A call without rates to count needs no list, and so no place on the heap for it.
            if is_counted {
                required.push(scope);
            }
        }
        let count = is_counted.then(|| Count {
            claims: claims.clone(),
            required,
        });
        request.extensions.insert(claims);
        Ok(count)
    }
}

impl Scope {
    fn required_by(&self, request: &Parts) -> Result<Arc<str>, Refusal> {
        match self {
            Self::Fixed(scope) => Ok(Arc::clone(scope)),
            Self::From(scope) => {
                let scope = scope(request)?;
                // Asked for by the caller, so it is the caller's mistake if it is none.
                ati_client::check_scope(&scope, [])
                    .map_err(|error| Refusal::BadRequest(error.to_string()))?;
                Ok(scope.into())
            }
        }
    }
}

/// A call that is yet to be counted.
struct Count {
    claims: Claims,
    required: Vec<Arc<str>>,
}

impl Count {
    async fn take<S: RateStore>(&self, limiter: &RateLimiter<S>) -> Result<(), Refusal> {
        limiter
            .check_all(&self.claims, &self.required, SystemTime::now())
            .await
            .map_err(Refusal::from)
    }
}

impl<I, S> Layer<I> for AtiLayer<S> {
    type Service = AtiService<I, S>;

    fn layer(&self, inner: I) -> Self::Service {
        AtiService::new(inner, Arc::clone(&self.config))
    }
}

impl<S> AtiLayer<S> {
    /// What the layer adds to challenges.
    pub(crate) fn protection(&self) -> &Protection {
        &self.config.protection
    }
}

impl<S> Clone for AtiLayer<S> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
        }
    }
}

impl<S> Clone for Config<S> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            optional: self.optional,
            scopes: self.scopes.clone(),
            rates: Arc::clone(&self.rates),
            protection: self.protection.clone(),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<S> fmt::Debug for AtiLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtiLayer")
            .field("optional", &self.config.optional)
            .field("scopes", &self.config.scopes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(scope) => fmt::Debug::fmt(scope, f),
            Self::From(_) => f.write_str("as the request says"),
        }
    }
}
