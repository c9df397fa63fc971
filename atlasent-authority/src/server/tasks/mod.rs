//! Tasks that run beside the requests: they read changed keys, policies and certificates again,
//! archive old events, and save the head of the chain.
//!
//! API keys, the registry of organizations, policies and the certificate have one task each, so
//! that a read that hangs delays no other.

mod approvals;
mod certificate;
pub(crate) mod chain_head;
mod failure_log;
mod keys;
mod organizations;
mod policies;
mod policy_folder;
pub(crate) mod retention;
mod rounds;
mod shadow;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::server::app::App;
use crate::server::listen::tls::Certificate;
use crate::store::Store;
use approvals::{expire_approvals, load_due_organizations};
use certificate::refresh_certificate;
use keys::refresh_keys;
use organizations::{refresh_organizations, refresh_registry};
use policies::refresh_policies;
pub use policy_folder::PolicyFolder;
pub use retention::Retention;
pub(crate) use rounds::{Rounds, keep_running_on_hangup};
use shadow::refresh_shadow;

/// Starts the tasks that read keys, policies and the certificate. Dropping the set stops them.
pub(crate) fn start<S: Store>(
    app: &Arc<App<S>>,
    policies: Option<PolicyFolder>,
    shadow: Option<PolicyFolder>,
    certificate: Option<Certificate>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(refresh_keys(Arc::clone(app)));
    tasks.spawn(expire_approvals(Arc::clone(app)));
    if app.organizations.registry().is_some() {
        tasks.spawn(refresh_registry(Arc::clone(app)));
        tasks.spawn(refresh_organizations(Arc::clone(app)));
        tasks.spawn(load_due_organizations(Arc::clone(app)));
    }
    if let Some(policies) = policies {
        tasks.spawn(refresh_policies(Arc::clone(app), policies));
    }
    if let Some(shadow) = shadow {
        tasks.spawn(refresh_shadow(Arc::clone(app), shadow));
    }
    if let Some(certificate) = certificate {
        tasks.spawn(refresh_certificate(certificate));
    }
    tasks
}
