//! Saves the heads of the chains in files, by which the next start detects a replaced store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::failure_log::FailureLog;
use crate::server::app::App;
use crate::store::{OrgId, Store};
use crate::trail::head_file::{HeadFile, HeadFileError};

/// How often the heads are saved.
const PERIOD: Duration = Duration::from_secs(10);

/// Saves the heads at once and then in each period, until the future is dropped. `local` is the
/// file of `local`.
pub(crate) async fn run<S: Store>(local: Option<&HeadFile>, app: &Arc<App<S>>) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = HashMap::new();
    loop {
        tick.tick().await;
        for (id, saved) in save_all(local, app).await {
            note(&mut failing, id, saved);
        }
    }
}

/// Saves the heads before the server ends, and logs each that cannot be saved.
pub(crate) async fn save<S: Store>(local: Option<&HeadFile>, app: &Arc<App<S>>) {
    for (id, saved) in save_all(local, app).await {
        if let Err(error) = saved {
            log(&id, &error);
        }
    }
}

/// Saves the heads of `local` and of the organizations that were used, and returns the results. A
/// file stays unchanged if its head is not part of the chain.
async fn save_all<S: Store>(
    local: Option<&HeadFile>,
    app: &Arc<App<S>>,
) -> Vec<(OrgId, Result<(), HeadFileError>)> {
    let mut results = Vec::new();
    if let Some(file) = local {
        let saved = file.save(app.local().authority.store()).await;
        results.push((OrgId::local(), saved));
    }
    if let Some(loader) = app.organizations.loader() {
        for org in loader.all_loaded() {
            results.push((org.id.clone(), org.save_head().await));
        }
        results.extend(loader.save_heads_of_evicted().await);
    }
    results
}

/// Logs the failures of an organization, at most once a minute, and the first success after them.
fn note(failing: &mut HashMap<OrgId, FailureLog>, org_id: OrgId, saved: Result<(), HeadFileError>) {
    match saved {
        Ok(()) => {
            if failing.remove(&org_id).is_some() {
                tracing::info!(target: "atlasent", %org_id, "the head of the chain is saved again");
            }
        }
        Err(error) => {
            let log_of_org = failing.entry(org_id.clone()).or_default();
            if log_of_org.failed() {
                log(&org_id, &error);
            }
        }
    }
}

fn log(org_id: &OrgId, error: &HeadFileError) {
    tracing::error!(target: "atlasent", %org_id, %error, "the head of the chain was not saved");
}
