//! Saves the heads of the chains in files, by which the next start detects a replaced store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

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
    loop {
        tick.tick().await;
        save(local, app).await;
    }
}

/// Saves the heads of `local` and of the organizations that were used. If a chain does not continue
/// its saved head, the file stays unchanged and the log gets the error.
pub(crate) async fn save<S: Store>(local: Option<&HeadFile>, app: &Arc<App<S>>) {
    if let Some(file) = local {
        log(
            &OrgId::local(),
            file.save(app.local().authority.store()).await,
        );
    }
    let Some(loader) = app.organizations.loader() else {
        return;
    };
    for org in loader.all_loaded() {
        log(&org.id, org.save_head().await);
    }
    for (id, error) in loader.save_heads_of_evicted().await {
        log(&id, Err(error));
    }
}

fn log(org_id: &OrgId, saved: Result<(), HeadFileError>) {
    if let Err(error) = saved {
        tracing::error!(target: "atlasent", %org_id, %error, "the head of the chain was not saved");
    }
}
