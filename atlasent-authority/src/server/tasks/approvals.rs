//! Escalates or ends the pending decisions of all organizations when their time is over.
//!
//! `local` and the organizations in memory know when their decisions are due. Of the others, the
//! directory of organizations keeps that time: it notes it when one leaves the memory, and a look
//! into the stores finds those of an earlier process. One that is due is loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::rounds::watched;
use crate::local::LocalAuthority;
use crate::server::app::App;
use crate::server::log_limit::log_outage;
use crate::server::organizations::ServedOrg;
use crate::store::Store;

/// How often the times are compared. The store is read only when one of them is over.
const PERIOD: Duration = Duration::from_secs(1);

/// How many organizations are loaded at a time because they are due.
const LOADING: usize = 4;

/// How often the stores of the organizations that are not in memory are looked into: another
/// server may have opened decisions in them, and stopped since.
const LOOK: Duration = Duration::from_secs(600);

/// How often a look that failed is repeated.
const RETRY: Duration = Duration::from_secs(60);

/// Ends due decisions of the organizations in memory until the task is dropped. Those of a
/// suspended organization stay open until it is resumed: its approvers can decide nothing.
pub(super) async fn expire_approvals<S: Store>(app: Arc<App<S>>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        expire(&app.local().authority).await;
        for org in app.organizations.active() {
            expire_of(&org).await;
        }
    }
}

/// Loads organizations whose decisions are due until the task is dropped. Each load is a task of
/// its own, so that a folder that hangs delays no other.
pub(super) async fn load_due_organizations<S: Store>(app: Arc<App<S>>) {
    let mut loads = JoinSet::new();
    let mut next_look = Instant::now();
    loop {
        if next_look <= Instant::now() {
            let is_complete = look(&app).await;
            next_look = Instant::now() + if is_complete { LOOK } else { RETRY };
        }
        while loads.try_join_next().is_some() {}
        let room = LOADING.saturating_sub(loads.len());
        for id in app.organizations.take_due(app.clock.now(), room) {
            let app = Arc::clone(&app);
            loads.spawn(async move {
                let org = app.organizations.load_due(&id, app.clock.now()).await;
                if let Some(org) = org {
                    // It may leave the memory before the next round of those in memory.
                    expire_of(&org).await;
                }
            });
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Looks for open decisions of the organizations that are not in memory. Returns whether all stores
/// could be read.
async fn look<S: Store>(app: &App<S>) -> bool {
    let mut is_complete = true;
    for id in app.organizations.with_unknown_due() {
        let looking = app.organizations.find_due(&id);
        match watched("the pending decisions", looking).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                is_complete = false;
                log_not_ended(&error.to_string());
            }
            None => is_complete = false,
        }
    }
    is_complete
}

async fn expire_of<S: Store>(org: &ServedOrg<S>) {
    // The policies that stand in for others would end every decision.
    if org.check_policies().is_ok() {
        expire(&org.authority).await;
    }
}

async fn expire<S: Store>(authority: &LocalAuthority<S>) {
    let expiring = authority.expire_due_approvals();
    if let Some(Err(error)) = watched("the pending decisions", expiring).await {
        log_not_ended(&error.to_string());
    }
}

fn log_not_ended(cause: &str) {
    log_outage(
        "pending decisions stay open",
        "end due decisions",
        Some(cause),
    );
}
