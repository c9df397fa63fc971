//! The head of the chain goes into a file now and then, so that the next start finds out whether
//! the store was replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::server::app::App;
use crate::store::Store;
use crate::trail::head_file::HeadFile;

/// How often the head is saved.
const PERIOD: Duration = Duration::from_secs(10);

/// Saves the head at once and then now and again, until it is dropped.
pub(crate) async fn run<S: Store>(file: &HeadFile, app: &Arc<App<S>>) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        save(file, app).await;
    }
}

/// Saves the head. A store that does not continue it goes to the log, and the file stays as it was.
pub(crate) async fn save<S: Store>(file: &HeadFile, app: &Arc<App<S>>) {
    if let Err(error) = file.save(app.authority.store()).await {
        tracing::error!(target: "atlasent", %error, "the head of the chain was not saved");
    }
}
