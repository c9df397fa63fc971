//! Authenticates requests by ATI tokens.
//!
//! [`AtiLayer`] is the layer, `service.rs` the service that it makes, and `check.rs` what both
//! check in a request.

mod check;
mod service;

use std::fmt;
use std::sync::Arc;

use ati_client::{MemoryRates, RateLimiter, RateStore, Verifier};
use http::request::Parts;
use tower_layer::Layer;

pub(crate) use check::Anonymous;
pub use service::{AtiFuture, AtiService};

use crate::challenge::ChallengeParameters;
use crate::{ProblemDetails, Refusal, Respond};
use check::{Config, Scope};

/// The most rate windows that are counted by default: one for each subject and pattern.
const DEFAULT_WINDOWS: usize = 10_000;

/// Authenticates requests by an ATI token, checks the scopes of the token, and enforces its rates.
///
/// The token is expected in exactly one header `Authorization: Bearer <token>` (RFC 6750). A
/// missing or invalid token gets 401, a path that is not in normal form (RFC 3986 §6.2.2) 400, a
/// scope that the token does not grant 403, and an exceeded rate 429. The layer puts the verified
/// [`Claims`](ati_client::Claims) into the extensions of the request.
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
/// // Accepts each token once: for calls that must not be repeated.
/// let strict = Verifier::builder(key.verifying_key()).replay_guard(ReplayGuard::new(10_000)).build()?;
/// let once = AtiLayer::new(strict);
/// # Ok::<(), ati_client::Error>(())
/// ```
///
/// # Rates
///
/// The rates of a token are for scopes. A call counts once for each rate that covers a required
/// scope, however many of the scopes the rate covers. A call that one rate refuses is counted by no
/// rate. A layer without required scopes counts only rates for `*`. A token without rates costs
/// nothing.
///
/// A [`RateLimiter`] in this process counts the calls, for up to 10,000 pairs of subject and
/// pattern; [`rates`](Self::rates) replaces it. Each layer counts a request separately: two layers
/// that share a limiter count the request twice.
///
/// # CORS
///
/// A browser sends the preflight of a cross-origin request (`OPTIONS`, Fetch §3.2.2) without a
/// token. So put a CORS layer, such as `tower_http::cors::CorsLayer`, **outside** this layer. It
/// answers preflights itself, and lets pages read the refusals.
///
/// ```text
/// CorsLayer → AtiLayer → service        preflights are answered, everything else needs a token
/// AtiLayer → CorsLayer → service        preflights are refused with 401, and browsers send no other request
/// ```
///
/// To let pages read the challenge, expose `WWW-Authenticate` in the CORS layer.
pub struct AtiLayer<S = MemoryRates> {
    config: Arc<Config<S>>,
}

impl AtiLayer {
    /// Creates a layer that admits every agent whose token `verifier` accepts. The cache and the
    /// replay guard of the verifier apply, if it has them.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self {
            config: Arc::new(Config {
                verifier,
                optional: false,
                scopes: Vec::new(),
                rates: Arc::new(RateLimiter::new(DEFAULT_WINDOWS)),
                challenge: ChallengeParameters::default(),
                responder: Arc::new(ProblemDetails),
            }),
        }
    }
}

impl<S: RateStore> AtiLayer<S> {
    /// Also admits requests without a token. A request with an invalid token is still refused. A
    /// second call changes nothing. A required scope, added before or after this call, still
    /// requires a token.
    ///
    /// Inner services that need an agent (`ProtectLayer`, `Ati`) answer anonymous requests with
    /// 401.
    #[must_use]
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }

    /// Requires a scope, such as `tool:github:search`, of every request. A second call adds a
    /// scope: all of them are required, and the call is counted for the rates of
    /// [each](Self#rates).
    #[must_use]
    pub fn scope(self, required: impl Into<Arc<str>>) -> Self {
        let required = required.into();
        self.with(|config| config.scopes.push(Scope::Fixed(required)))
    }

    /// Requires the scope that a request itself names, such as `tool:` and the name of the tool in
    /// its path. A second call adds a scope, as with [`scope`](Self::scope).
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
        self.with(|config| config.scopes.push(Scope::FromRequest(required)))
    }

    /// Sets the realm in the challenges of this layer and of everything inside it (RFC 9110 §11.5).
    /// A second call replaces the realm.
    ///
    /// A realm that is not printable ASCII is a misconfiguration: every request gets 500.
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
        self.with(|config| config.challenge.set_realm(realm.as_ref()))
    }

    /// Adds the URL of the metadata of this protected resource (RFC 9728 §5.1) to the same
    /// challenges as [`realm`](Self::realm). A second call replaces the URL.
    ///
    /// The URL must be absolute, with the scheme `https` or `http`, and without user and fragment.
    /// Any other URL is a misconfiguration: every request gets 500.
    #[must_use]
    pub fn resource_metadata(self, url: impl AsRef<str>) -> Self {
        self.with(|config| config.challenge.set_resource_metadata(url.as_ref()))
    }

    /// Replaces the limiter that counts calls, for example by one with room for more agents, or one
    /// that several processes share. A second call replaces it again.
    #[must_use]
    pub fn rates<S2: RateStore>(self, limiter: impl Into<Arc<RateLimiter<S2>>>) -> AtiLayer<S2> {
        let config = Arc::unwrap_or_clone(self.config);
        AtiLayer {
            config: Arc::new(Config {
                verifier: config.verifier,
                optional: config.optional,
                scopes: config.scopes,
                rates: limiter.into(),
                challenge: config.challenge,
                responder: config.responder,
            }),
        }
    }

    /// Sets the responder that builds the responses to refused requests. The default is
    /// [`ProblemDetails`]. A second call replaces the responder.
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

    /// Authenticates a request as the layer does: verifies the token, checks the scopes, counts the
    /// call, and puts the verified [`Claims`](ati_client::Claims) into the extensions.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] if the request is not admitted.
    pub async fn authenticate(&self, request: &mut Parts) -> Result<(), Refusal> {
        match self.config.authenticate(request)? {
            Some(call) => call.count(&self.config.rates).await,
            None => Ok(()),
        }
    }
}

impl<I, S> Layer<I> for AtiLayer<S> {
    type Service = AtiService<I, S>;

    fn layer(&self, inner: I) -> Self::Service {
        AtiService::new(inner, Arc::clone(&self.config))
    }
}

impl<S> AtiLayer<S> {
    /// Returns the parameters that the layer adds to challenges.
    pub(crate) fn challenge_parameters(&self) -> &ChallengeParameters {
        &self.config.challenge
    }
}

impl<S> Clone for AtiLayer<S> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
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
