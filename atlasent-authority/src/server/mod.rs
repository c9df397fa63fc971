//! The HTTP server (feature `server`): the AtlaSent API on an authority of this process, for the
//! SDKs of all languages.
//!
//! What it answers is the contract's part B. A request passes the gate (`gate.rs`) first: a place
//! among those that are answered at a time, an API key, its networks and its rate. Behind it, each
//! file holds the endpoints of one subject.

mod about;
mod answers;
mod app;
mod body;
mod gate;
mod key_book;
mod listen;
mod metrics;
mod policy_folder;
mod problem;
mod question;
mod reading;
mod reload;
mod retention;
mod trail;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use app::App;
pub use app::Settings;
pub use key_book::{KeyBook, KeyBookError};
pub use listen::{Listening, ServeError, TlsFiles};
pub use policy_folder::PolicyFolder;
pub use retention::Retention;

use crate::local::LocalAuthority;
use crate::signing::KeyRing;
use crate::store::Store;
use problem::Problem;

/// An authority, on the wire.
///
/// ```no_run
/// use atlasent_authority::server::{KeyBook, Server};
/// use atlasent_authority::{ApiKey, Environment, KeyRing, LocalAuthority, Policies};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = LocalAuthority::in_memory(Policies::from_dir("policies")?)?;
/// let (key, _secret) = ApiKey::generate(Environment::Test)?;
/// let server = Server::new(authority, KeyBook::of([key]), KeyRing::in_memory()?);
/// let listening = server.listen("127.0.0.1:8080".parse()?, None).await?;
/// println!("http://{}", listening.address());
/// listening.run_until(async { tokio::signal::ctrl_c().await.unwrap() }).await?;
/// # Ok(()) }
/// ```
#[must_use = "a server does nothing before it listens"]
pub struct Server<S: Store> {
    app: App<S>,
    policies: Option<PolicyFolder>,
    retention: Option<Retention>,
}

impl<S: Store> Server<S> {
    /// A server for an authority, that lets the holders of `keys` in and signs exports by
    /// `signing`.
    pub fn new(authority: LocalAuthority<S>, keys: KeyBook, signing: KeyRing) -> Self {
        Self {
            app: App::new(authority, keys, signing),
            policies: None,
            retention: None,
        }
    }

    /// Sets its limits, all of them: a second call replaces the first.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.app.set(settings);
        self
    }

    /// Reads the policies of a folder again whenever they change, or the process is told to
    /// (`SIGHUP`). A second call replaces the folder, since an authority decides by one set of
    /// policies.
    pub fn watch(mut self, policies: PolicyFolder) -> Self {
        self.policies = Some(policies);
        self
    }

    /// Takes old events out of the store, into signed bundles. A second call replaces the first.
    pub fn retain(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// The service itself, to be mounted elsewhere. It does nothing by itself: it reads neither
    /// keys nor policies again, and archives nothing.
    pub fn into_router(self) -> Router {
        router(Arc::new(self.app))
    }
}

impl<S: Store> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("authority", &self.app.authority)
            .field("settings", &self.app.settings)
            .finish_non_exhaustive()
    }
}

/// Where exports are asked for, which take their time.
const EXPORTS: &str = "/v1-audit/exports";

fn router<S: Store>(app: Arc<App<S>>) -> Router {
    let gate = axum::middleware::from_fn_with_state(Arc::clone(&app), gate::pass::<S>);
    let mut router = Router::new()
        .route("/v1-evaluate", post(answers::evaluate::<S>))
        .route("/v1-evaluate-stream", post(answers::stream::<S>))
        .route("/v1-verify-permit", post(answers::verify::<S>))
        .route("/v1-revoke-permit", post(answers::revoke::<S>))
        .route("/v1-api-key-self", get(about::key_self::<S>))
        .route("/v1-signing-keys", get(about::signing_keys::<S>))
        .route("/v1-audit/events", get(trail::events::<S>))
        .route(EXPORTS, post(trail::export::<S>))
        .method_not_allowed_fallback(wrong_method)
        .route_layer(gate)
        .route("/healthz", get(about::healthy))
        .route("/readyz", get(about::ready::<S>));
    if app.settings.metrics {
        router = router.route("/metrics", get(about::metrics::<S>));
    }
    router.fallback(not_found).with_state(app)
}

async fn not_found(request: Request) -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "there is no such endpoint",
    )
    .respond(&gate::request_id(request.headers()))
}

async fn wrong_method(Extension(id): Extension<gate::RequestId>) -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "this endpoint takes another method",
    )
    .respond(&id.0)
}
