//! The HTTP server (feature `server`): the AtlaSent API on an authority of this process, for the
//! SDKs of all languages.
//!
//! What it answers is the contract's part B. A request passes the gate (`gate.rs`) first: an API
//! key and its networks (`caller.rs`), a place among those that are answered at a time
//! (`admission.rs`) and the key's rate (`rate.rs`). Behind it, each file holds the endpoints of one
//! subject.

mod about;
mod admission;
mod answers;
mod app;
mod audit_log;
mod backups;
mod batch;
mod body;
mod caller;
mod connections;
mod deadline;
mod forwarded;
mod gate;
mod heads;
mod key_book;
mod listen;
mod log_limit;
mod metrics;
mod off_thread;
mod permits;
mod policy_folder;
mod problem;
mod query;
mod question;
mod rate;
mod reading;
mod refresh;
mod reload;
mod remember;
mod request_id;
mod retention;
mod stall;
mod stops;
mod throttle;
mod trail;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get, post};

use app::App;
pub use app::Settings;
pub use audit_log::AuditLog;
#[cfg(feature = "otlp")]
pub use audit_log::OtlpLog;
pub use key_book::{KeyBook, KeyBookError};
pub use listen::{Listening, ServeError, TlsFiles};
pub use policy_folder::PolicyFolder;
pub use retention::Retention;

use crate::head_file::HeadFile;
use crate::local::LocalAuthority;
use crate::signing::KeyRing;
use crate::store::{RateCounter, Store};
use problem::Problem;
use request_id::RequestId;

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
    head: Option<HeadFile>,
    audit_log: Option<AuditLog>,
    #[cfg(feature = "otlp")]
    otlp_log: Option<OtlpLog>,
}

impl<S: Store + RateCounter> Server<S> {
    /// A server for an authority, that lets the holders of `keys` in and signs exports by
    /// `signing`.
    pub fn new(authority: LocalAuthority<S>, keys: KeyBook, signing: KeyRing) -> Self {
        Self {
            app: App::new(authority, keys, signing),
            policies: None,
            retention: None,
            head: None,
            audit_log: None,
            #[cfg(feature = "otlp")]
            otlp_log: None,
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

    /// Saves the head of the chain in a file while it serves and when it ends, so that
    /// [`HeadFile::check`] finds a replaced store before the next start. A second call replaces the
    /// first.
    pub fn remember_head(mut self, file: HeadFile) -> Self {
        self.head = Some(file);
        self
    }

    /// Writes each event of the chain to a log while it serves. A second call replaces the first.
    pub fn audit_log(mut self, log: AuditLog) -> Self {
        self.audit_log = Some(log);
        self
    }

    /// Sends each event of the chain to an OTLP collector while it serves, beside an audit log. A
    /// second call replaces the first.
    #[cfg(feature = "otlp")]
    pub fn otlp_log(mut self, log: OtlpLog) -> Self {
        self.otlp_log = Some(log);
        self
    }

    /// The service itself, to be mounted elsewhere. It does nothing by itself: it reads neither
    /// keys nor policies again, archives nothing, and writes no audit log.
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

/// Where a copy of the whole store is asked for, which takes its time, too.
const BACKUPS: &str = "/v1/store/backup";

fn router<S: Store + RateCounter>(app: Arc<App<S>>) -> Router {
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
        .route("/v1/evaluate/batch", post(batch::evaluate::<S>))
        .route("/v1/permits", get(permits::list::<S>))
        .route("/v1/permits/revoke", post(permits::recall::<S>))
        .route("/v1/permits/{id}", get(permits::one::<S>))
        .route("/v1/permits/{id}/revoke", post(permits::revoke::<S>))
        .route("/v1/permits/{id}/verify", post(permits::inspect::<S>))
        .route("/v1/stops", get(stops::list::<S>).post(stops::set::<S>))
        .route("/v1/stops/{id}", delete(stops::lift::<S>))
        .route(BACKUPS, post(backups::backup::<S>))
        .route("/v1/audit/head", get(heads::signed::<S>))
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
    .respond(&RequestId::from_headers(request.headers()).0)
}

async fn wrong_method(Extension(id): Extension<RequestId>) -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "this endpoint takes another method",
    )
    .respond(&id.0)
}
