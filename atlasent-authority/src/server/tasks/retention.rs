//! Archives old events in signed bundles, once an hour.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use atlasent::Error;
use jiff::{SignedDuration, Timestamp};

use crate::files::{Publish, publish};
use crate::local::unreadable;
use crate::server::app::App;
use crate::store::Store;
use crate::trail::archive::{Archived, OldEvents, collect_old, drop_old, not_kept};

/// How often old events are archived.
const PERIOD: Duration = Duration::from_secs(3600);

/// How long events stay in the store, and the folder of the bundles in which they are archived.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How long events stay in the store.
    pub keep: Duration,
    /// The folder of the bundles, which has to exist.
    pub folder: PathBuf,
}

impl Retention {
    /// Archives old events in each period, until the future is dropped.
    pub(crate) async fn run<S: Store>(self, app: Arc<App<S>>) {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            // Each call archives one bundle. The first may be one that an earlier process wrote
            // without dropping its events.
            while self.archive(&app).await {}
        }
    }

    /// Archives one bundle of old events. Returns whether more may be left.
    async fn archive<S: Store>(&self, app: &Arc<App<S>>) -> bool {
        let keep = SignedDuration::try_from(self.keep).unwrap_or(SignedDuration::MAX);
        let Ok(before) = app.authority.clock.now().checked_sub(keep) else {
            return false;
        };
        match self.archive_before(before, app).await {
            Ok(None) => false,
            Ok(Some(archived)) => {
                tracing::info!(
                    target: "atlasent",
                    first = archived.first,
                    last = archived.last,
                    checkpoint = archived.checkpoint,
                    "old events were archived"
                );
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(target: "atlasent", %error, cause, "old events stay where they are");
                false
            }
        }
    }

    async fn archive_before<S: Store>(
        &self,
        before: Timestamp,
        app: &Arc<App<S>>,
    ) -> Result<Option<Archived>, Error> {
        let folder = self.folder.clone();
        let reading = Arc::clone(app);
        // On the thread of the exports, away from the threads that decide.
        let collected = app.read_pools.exports.run(async move {
            let authority = &reading.authority;
            let dropped = authority
                .store()
                .status()
                .await
                .map_err(unreadable)?
                .dropped;
            let through = last_of_bundle_from(&folder, dropped + 1).map_err(not_kept)?;
            let (store, clock) = (authority.store(), &*authority.clock);
            let old = collect_old(store, clock, before, through, &reading.signing).await?;
            let Some(mut old) = old else {
                return Ok(None);
            };
            write(&folder, &mut old).map_err(not_kept)?;
            Ok::<_, Error>(Some(old))
        });
        let collected = collected
            .await
            .map_err(|error| not_kept(io::Error::other(error.message().to_owned())))?;
        match collected? {
            Some(old) => {
                let authority = &app.authority;
                let dropped = drop_old(authority.store(), &*authority.clock, &old);
                dropped.await.map(Some)
            }
            None => Ok(None),
        }
    }
}

/// Returns the last sequence number of the folder's bundle that starts with `first`. A process that
/// was stopped after it wrote a bundle has not dropped the bundle's events. The same bundle is then
/// written again, so that no event is in two bundles.
fn last_of_bundle_from(folder: &Path, first: u64) -> io::Result<Option<u64>> {
    let mut last = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let numbers = name
            .to_str()
            .and_then(|name| name.strip_prefix("events-")?.strip_suffix(".json"))
            .and_then(|numbers| numbers.split_once('-'));
        if let Some((from, to)) = numbers
            && from.parse() == Ok(first)
        {
            last = last.max(to.parse().ok());
        }
    }
    Ok(last)
}

fn write(folder: &Path, old: &mut OldEvents) -> io::Result<()> {
    let (first, last) = (old.first, old.last);
    let path = folder.join(format!("events-{first:012}-{last:012}.json"));
    publish(&path, Publish::Over, |file| {
        io::copy(&mut old.bundle, file).map(drop)
    })
}
