//! The HTTP server (feature `server`): the AtlaSent API on an authority of this process, for the
//! SDKs of all languages.
//!
//! The endpoints are those of the contract's parts B and D. A request passes `entry` first, which
//! authenticates its caller and applies the limits; `routes` lists the endpoints and answers them,
//! with what `input` reads of the request. `listen` has the socket, and `tasks` runs beside the
//! requests.

mod api_error;
mod api_keys;
mod app;
mod audit_log;
#[cfg(any(feature = "otlp", feature = "webhooks"))]
mod backoff;
#[cfg(feature = "console")]
mod console;
mod entry;
mod fair_queue;
#[cfg(any(feature = "oidc", feature = "otlp", feature = "webhooks"))]
mod https;
mod input;
mod listen;
mod log_limit;
mod metrics;
mod off_thread;
#[cfg(feature = "oidc")]
mod oidc;
mod organizations;
mod read_pool;
mod read_slots;
mod rereads;
mod response;
mod routes;
mod runtime;
mod settings;
mod shadow;
mod shared_authority;
mod sources;
mod tasks;
#[cfg(feature = "webhooks")]
pub mod webhooks;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;

pub use api_keys::{ApiKeys, ApiKeysError};
use app::App;
pub use audit_log::AuditLog;
#[cfg(feature = "otlp")]
pub use audit_log::OtlpLog;
pub use listen::{ConnectionSettings, Listening, ServeError, TlsFiles, serve_router};
#[cfg(feature = "oidc")]
pub use oidc::{OidcConfig, OidcError, OidcVerifier};
pub use organizations::{OrgHosting, OrgRegistry, OrgRegistryError};
pub use runtime::runtime;
pub use settings::Settings;
use shadow::Shadow;
pub use shared_authority::SharedAuthority;
pub use tasks::{PolicyFolder, Retention};

use crate::local::LocalAuthority;
use crate::signing::KeyRing;
use crate::store::{Organizations, RateCounter, Store};
use crate::trail::head_file::HeadFile;

/// The HTTP server of an authority.
///
/// ```no_run
/// use atlasent_authority::server::{ApiKeys, Server};
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment};
/// use atlasent_authority::signing::KeyRing;
/// use atlasent_authority::{LocalAuthority, Policies};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = LocalAuthority::in_memory(Policies::from_dir("policies")?)?;
/// let (key, _secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// let server = Server::new(authority, ApiKeys::new([key]), KeyRing::in_memory()?);
/// let listening = server.listen("127.0.0.1:8080".parse()?, None).await?;
/// println!("http://{}", listening.address());
/// listening.run_until(async { tokio::signal::ctrl_c().await.unwrap() }).await?;
/// # Ok(()) }
/// ```
#[must_use = "a server does nothing before it listens"]
pub struct Server<S: Store> {
    app: App<S>,
    policies: Option<PolicyFolder>,
    shadow: Option<PolicyFolder>,
    retention: Option<Retention>,
    head: Option<HeadFile>,
    audit_log: Option<AuditLog>,
    #[cfg(feature = "otlp")]
    otlp_log: Option<OtlpLog>,
    #[cfg(feature = "webhooks")]
    webhooks: webhooks::Webhooks,
}

impl<S: Store + RateCounter> Server<S> {
    /// Creates the server of an authority. `keys` authenticate its callers, and `signing` signs its
    /// exports.
    pub fn new(authority: LocalAuthority<S>, keys: ApiKeys, signing: KeyRing) -> Self {
        Self {
            app: App::new(authority, keys, signing),
            policies: None,
            shadow: None,
            retention: None,
            head: None,
            audit_log: None,
            #[cfg(feature = "otlp")]
            otlp_log: None,
            #[cfg(feature = "webhooks")]
            webhooks: webhooks::Webhooks::new(),
        }
    }

    /// Sets all limits. A second call replaces the first.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.app.set(settings);
        self
    }

    /// Reads the policies of a folder again when they change, or when the process gets a `SIGHUP`.
    /// A second call replaces the folder, since an authority decides by one set of policies.
    pub fn watch(mut self, policies: PolicyFolder) -> Self {
        self.policies = Some(policies);
        self
    }

    /// Serves the organizations of a registry beside `local`, which is the one of the authority
    /// that the server was made with. A second call replaces the first.
    ///
    /// Each API key belongs to one organization, and its requests reach that one only. The other
    /// organizations have the same settings as the authority (permit lifetime, permits per agent,
    /// recording of contexts); a [required schema](crate::LocalAuthorityBuilder::require_schema) is
    /// that of `local` alone.
    ///
    /// On the [`runtime`](runtime()) of this module, the requests of one organization wait little
    /// beside a flood by another one.
    pub fn organizations(mut self, hosting: OrgHosting) -> Self
    where
        S: Organizations<Store = S>,
    {
        let reloads = self.app.metrics.reloads.clone();
        self.app.organizations.host(hosting, reloads);
        self
    }

    /// Accepts the bearer tokens of an OpenID Connect issuer from people who approve, beside API
    /// keys. A token works like a `live` API key with the [scopes of an
    /// approver](crate::keys::ApiScope::APPROVER), for the organization of the verifier's settings. A
    /// second call replaces the first.
    #[cfg(feature = "oidc")]
    pub fn approvers_by_oidc(mut self, verifier: OidcVerifier) -> Self {
        self.app.oidc = Some(verifier);
        self
    }

    /// Compares the decisions with those of a candidate: a second folder of policies, which decides
    /// each evaluation too and enforces nothing. A second call replaces the folder.
    ///
    /// The candidate decides on a thread of its own, after the answer is recorded. A request that
    /// does not fit its bounded queue is not compared, and counted as dropped. Answers, permits and
    /// the audit trail stay as they are without it. The metric `atlasent_shadow_decisions_total`
    /// counts how the decisions compare, and the log target `atlasent::shadow` has a line for
    /// differences, at most one a second. Answers that do not come from the policies, such as
    /// those of stops, limits and repeated requests, are not compared.
    ///
    /// The folder is read when the server starts to serve and when it has changed and been
    /// unchanged for the `settle` time, as with [`watch`](Self::watch). A candidate that does not
    /// load is logged and counted in `atlasent_shadow_reloads_total`, and the former one stays.
    pub fn shadow_policies(mut self, folder: impl Into<PathBuf>, settle: Duration) -> Self {
        self.shadow = Some(PolicyFolder::unread(folder.into()).settle(settle));
        self.app.shadow = Some(Shadow::new());
        self
    }

    /// Moves old events from the store into signed bundles. A second call replaces the first.
    pub fn retain(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Saves the head of the chain in a file, while the server runs and when it ends. Before the
    /// next start, [`HeadFile::check`] detects a replaced store by that file. A second call
    /// replaces the first.
    pub fn save_head(mut self, file: HeadFile) -> Self {
        self.head = Some(file);
        self
    }

    /// Writes each event of the chain to a log while the server runs. A second call replaces the
    /// first.
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

    /// Serves the console under `/console`: pages on which approvers decide what policies hold, and
    /// look at decisions, permits, the audit trail, stops and policies.
    ///
    /// Approvers log in with their API keys. A session ends after 30 idle minutes, after 12 hours,
    /// when its key is revoked, and with the process. Its cookie crosses a network over TLS only: a
    /// console that other machines reach needs [TLS](Self::listen), or a proxy that has it.
    #[cfg(feature = "console")]
    pub fn console(mut self) -> Self {
        self.app.console = Some(console::Console::default());
        self
    }

    /// Sends notifications of pending decisions and stops while it serves. A second call replaces
    /// the first.
    #[cfg(feature = "webhooks")]
    pub fn webhooks(mut self, webhooks: webhooks::Webhooks) -> Self {
        self.webhooks = webhooks;
        self
    }

    /// Returns the service alone, to be mounted elsewhere. Nothing runs beside its requests: it
    /// does not read keys or policies again, archives nothing, writes no audit log, sends no
    /// notifications, and compares no shadow policies.
    pub fn into_router(self) -> Router {
        routes::router(Arc::new(self.app))
    }
}

impl<S: Store> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("authority", &self.app.local().authority)
            .field("settings", &self.app.settings)
            .finish_non_exhaustive()
    }
}
