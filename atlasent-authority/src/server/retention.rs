//! Old events go into signed bundles in a folder, once an hour.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::app::App;
use crate::export::Bundle;
use crate::files::{Publish, publish};
use crate::store::Store;

/// How often it is looked for old events.
const PERIOD: Duration = Duration::from_secs(3600);

/// How long events stay in the store, and where they go then.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How long they stay.
    pub keep: Duration,
    /// The folder of the bundles. It has to be there.
    pub folder: PathBuf,
}

impl Retention {
    /// Archives what is old, again and again, until it is dropped.
    pub(super) async fn run<S: Store>(self, app: Arc<App<S>>) {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            self.archive(&app).await;
        }
    }

    async fn archive<S: Store>(&self, app: &App<S>) {
        let keep = SignedDuration::try_from(self.keep).unwrap_or(SignedDuration::MAX);
        let Ok(before) = app.authority.clock.now().checked_sub(keep) else {
            return;
        };
        let write = |first, last, bundle: &mut Bundle| self.write(first, last, bundle);
        match app.authority.archive(before, &app.signing, write).await {
            Ok(None) => {}
            Ok(Some(archived)) => tracing::info!(
                target: "atlasent",
                first = archived.first,
                last = archived.last,
                checkpoint = archived.checkpoint,
                "old events were archived"
            ),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(target: "atlasent", %error, cause, "old events stay where they are");
            }
        }
    }

    fn write(&self, first: u64, last: u64, bundle: &mut Bundle) -> io::Result<()> {
        let path = self
            .folder
            .join(format!("events-{first:012}-{last:012}.json"));
        publish(&path, Publish::Over, |file| {
            io::copy(bundle, file).map(drop)
        })
    }
}
