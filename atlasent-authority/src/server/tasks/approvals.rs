//! Escalates or ends the pending decisions of the organizations in memory when their time is over.

use std::sync::Arc;
use std::time::Duration;

use super::rounds::watched;
use crate::local::LocalAuthority;
use crate::server::app::App;
use crate::server::log_limit::log_outage;
use crate::store::Store;

/// How often the times are compared. The store is read only when one of them is over.
const PERIOD: Duration = Duration::from_secs(1);

/// Ends due decisions until the task is dropped.
pub(super) async fn expire_approvals<S: Store>(app: Arc<App<S>>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        expire(&app.local().authority).await;
        let loader = app.organizations.loader();
        for org in loader.map(|loader| loader.all_loaded()).unwrap_or_default() {
            expire(&org.authority).await;
        }
    }
}

async fn expire<S: Store>(authority: &LocalAuthority<S>) {
    let expiring = authority.expire_due_approvals();
    if let Some(Err(error)) = watched("the pending decisions", expiring).await {
        let cause = error.to_string();
        log_outage(
            "pending decisions stay open",
            "end due decisions",
            Some(&cause),
        );
    }
}
