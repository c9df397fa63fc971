//! Notifications of pending decisions and stops, sent as webhooks (feature `webhooks`) by the
//! [Standard Webhooks](https://www.standardwebhooks.com) specification.
//!
//! The chain is the outbox: each endpoint follows the events of the chain, and the store keeps how
//! far it is. So a notification is sent after its event's commit, at least once, whatever stops
//! meanwhile, and servers that share a store take turns.

mod client;
mod endpoint;
mod message;
mod signature;
mod worker;

use std::sync::Arc;

pub use endpoint::{InvalidWebhook, WebhookEndpoint, WebhookFormat};
pub use signature::{InvalidWebhookSecret, WebhookDelivery, WebhookRefusal, WebhookSecret};

use super::app::App;
use super::audit_log::Writing;
use crate::store::Store;

/// The types of events that notifications tell of.
pub const WEBHOOK_EVENTS: [&str; 5] = [
    "approval.requested",
    "approval.granted",
    "approval.rejected",
    "approval.expired",
    "stop.set",
];

/// The endpoints that a server notifies, each of the events of one organization.
///
/// ```no_run
/// use atlasent_authority::server::webhooks::{WebhookEndpoint, Webhooks};
/// use atlasent_authority::server::{ApiKeys, Server};
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment};
/// use atlasent_authority::signing::KeyRing;
/// use atlasent_authority::{LocalAuthority, Policies};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = LocalAuthority::in_memory(Policies::from_dir("policies")?)?;
/// let (key, _secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// let endpoint = WebhookEndpoint::new("on-call", "https://hooks.example/atlasent")?
///     .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?)
///     .events(["approval.requested", "stop.set"])?;
/// let webhooks = Webhooks::new()
///     .approval_url("https://console.example/approvals/{id}")
///     .endpoint(endpoint)?;
/// let server = Server::new(authority, ApiKeys::new([key]), KeyRing::in_memory()?)
///     .webhooks(webhooks);
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
#[must_use = "notifications are sent by the server that they are given to"]
pub struct Webhooks {
    endpoints: Vec<(WebhookEndpoint, client::Receiver)>,
    approval_url: Option<Arc<str>>,
}

impl Webhooks {
    /// Creates a list without endpoints.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address at which people see a pending decision, with `{id}` in the place of its id.
    /// A second call replaces the first.
    pub fn approval_url(mut self, url: impl Into<Arc<str>>) -> Self {
        self.approval_url = Some(url.into());
        self
    }

    /// Adds an endpoint.
    ///
    /// # Errors
    ///
    /// [`InvalidWebhook`] when another endpoint has its name, when its format needs a secret that
    /// it lacks, or when this system has no CA certificates for TLS.
    pub fn endpoint(mut self, endpoint: WebhookEndpoint) -> Result<Self, InvalidWebhook> {
        if self
            .endpoints
            .iter()
            .any(|(known, _)| known.name == endpoint.name)
        {
            return Err(endpoint.invalid("has the name of another endpoint: rename one"));
        }
        if endpoint.secrets.is_empty() && endpoint.format == WebhookFormat::Standard {
            return Err(endpoint.invalid("has no secret: receivers could not tell who sent it"));
        }
        let receiver = client::Receiver::new(&endpoint)
            .map_err(|error| endpoint.invalid(&error.to_string()))?;
        self.endpoints.push((endpoint, receiver));
        Ok(self)
    }

    /// Starts a task for each endpoint, so that none waits for another. It looks up first how far
    /// each endpoint is, so that a new one is told of everything from now on.
    pub(in crate::server) async fn start<S: Store>(self, app: &Arc<App<S>>) -> Vec<Writing> {
        let mut tasks = Vec::new();
        for (endpoint, receiver) in self.endpoints {
            let url = self.approval_url.clone();
            let mut worker = worker::Worker::new(Arc::clone(app), endpoint, receiver, url);
            worker.open().await;
            tasks.push(Writing::spawn(
                |stopped| worker.run(stopped),
                || {
                    tracing::warn!(
                        target: "atlasent",
                        "a notification was interrupted: it is sent again after the next start"
                    );
                },
            ));
        }
        tasks
    }
}
