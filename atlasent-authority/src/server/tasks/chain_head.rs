//! Saves the head of the chain in a file, by which the next start detects a replaced store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::server::app::App;
use crate::store::Store;
use crate::trail::head_file::HeadFile;

/// How often the head is saved.
const PERIOD: Duration = Duration::from_secs(10);

/// Saves the head at once and then in each period, until the future is dropped.
pub(crate) async fn run<S: Store>(file: &HeadFile, app: &Arc<App<S>>) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        save(file, app).await;
    }
}

/// Saves the head. If the store does not continue the saved head, the file stays unchanged and the
/// log gets the error.
pub(crate) async fn save<S: Store>(file: &HeadFile, app: &Arc<App<S>>) {
    if let Err(error) = file.save(app.authority.store()).await {
        tracing::error!(target: "atlasent", %error, "the head of the chain was not saved");
    }
}
