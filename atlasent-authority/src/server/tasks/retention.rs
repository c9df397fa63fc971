//! Archives old events in signed bundles, once an hour.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use atlasent::Error;
use jiff::{SignedDuration, Timestamp};

use crate::files::{Publish, create_private_folder, publish};
use crate::local::{failed, unavailable, unreadable};
use crate::server::app::App;
use crate::server::off_thread::off_thread;
use crate::store::{OrgId, Store};
use crate::trail::archive::{Archived, OldEvents, collect_old, drop_old, not_kept};

/// How often old events are archived.
const PERIOD: Duration = Duration::from_secs(3600);

/// The name of the thread that reads and writes a folder of bundles.
const THREAD: &str = "atlasent-archive";

/// How long events stay in the store, and the folder of the bundles in which they are archived.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How long events stay in the store.
    pub keep: Duration,
    /// The folder of the bundles, which has to exist.
    pub folder: PathBuf,
}

/// Archives the old events of all organizations in each period, until the future is dropped.
/// `retention` is that of `local`, and of the organizations that the registry sets none for.
pub(crate) async fn run<S: Store>(retention: Option<Retention>, app: Arc<App<S>>) {
    let mut tick = tokio::time::interval(PERIOD);
    loop {
        tick.tick().await;
        if let Some(Retention { keep, folder }) = &retention {
            let chain = Chain::Local(Arc::clone(&app));
            archive_all(&app, &OrgId::local(), &chain, *keep, folder).await;
        }
        let default = retention.as_ref().map(|retention| retention.keep);
        for (org, keep, folder) in app.organizations.retentions(default) {
            match app.organizations.store(&org).await {
                Some(Ok(store)) => {
                    let chain = Chain::Other(Arc::new(store));
                    archive_all(&app, &org, &chain, keep, &folder).await;
                }
                Some(Err(error)) => log_failure(&org, &unavailable(failed::ARCHIVE, error)),
                None => {}
            }
        }
    }
}

/// The chain of an organization.
enum Chain<S> {
    Local(Arc<App<S>>),
    Other(Arc<S>),
}

impl<S> Clone for Chain<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Local(app) => Self::Local(Arc::clone(app)),
            Self::Other(store) => Self::Other(Arc::clone(store)),
        }
    }
}

impl<S: Store> Chain<S> {
    fn store(&self) -> &S {
        match self {
            Self::Local(app) => app.local().authority.store(),
            Self::Other(store) => store,
        }
    }
}

/// Archives the old events of an organization, a bundle at a time.
async fn archive_all<S: Store>(
    app: &Arc<App<S>>,
    org: &OrgId,
    chain: &Chain<S>,
    keep: Duration,
    folder: &Path,
) {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    // The first bundle may be one that an earlier process wrote without dropping its events.
    while let Ok(before) = app.clock.now().checked_sub(keep) {
        match archive_before(app, chain, before, folder).await {
            Ok(None) => return,
            Ok(Some(archived)) => tracing::info!(
                target: "atlasent",
                org_id = %org,
                first = archived.first,
                last = archived.last,
                checkpoint = archived.checkpoint,
                "old events were archived"
            ),
            Err(error) => return log_failure(org, &error),
        }
    }
}

fn log_failure(org_id: &OrgId, error: &Error) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(target: "atlasent", %org_id, %error, cause, "old events stay where they are");
}

/// Archives one bundle. Returns `None` if there are no old events, or if another server archives
/// them at the same time.
async fn archive_before<S: Store>(
    app: &Arc<App<S>>,
    chain: &Chain<S>,
    before: Timestamp,
    folder: &Path,
) -> Result<Option<Archived>, Error> {
    let dropped = chain.store().status().await.map_err(unreadable)?.dropped;
    let of_bundles = folder.to_owned();
    let through = in_folder(move || last_of_bundle_from(&of_bundles, dropped + 1)).await?;
    let (reading, chain_read) = (Arc::clone(app), chain.clone());
    // On the thread of the exports, away from the threads that decide.
    let collected = app.read_pools.exports.run(async move {
        let clock = &*reading.clock;
        collect_old(chain_read.store(), clock, before, through, &reading.signing).await
    });
    let collected = collected
        .await
        .map_err(|error| not_kept(io::Error::other(error.message().to_owned())))?;
    let Some(mut old) = collected? else {
        return Ok(None);
    };
    let (is_other, folder) = (matches!(chain, Chain::Other(_)), folder.to_owned());
    let written = in_folder(move || {
        if is_other {
            create_private_folder(&folder)?;
        }
        write(&folder, &mut old).map(|()| old)
    });
    let old = written.await?;
    drop_old(chain.store(), &*app.clock, &old).await
}

/// Works with a folder of bundles on a thread of its own. On that of the exports, a folder that
/// hangs would hold the exports of all organizations up.
async fn in_folder<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = off_thread(THREAD, work).await;
    done.and_then(|done| done).map_err(not_kept)
}

/// Returns the last sequence number of the folder's bundle that starts with `first`. A process that
/// was stopped after it wrote a bundle has not dropped the bundle's events. The same bundle is then
/// written again, so that no event is in two bundles. A folder that does not exist has no bundles.
fn last_of_bundle_from(folder: &Path, first: u64) -> io::Result<Option<u64>> {
    let mut last = None;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
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
