//! The store in one file, by `redb`: durable, for one process at a time.
//!
//! One thread writes. Changes that come while it waits for the disk share its next transaction, and its one `fsync`.

mod chore;
mod file;
mod index;
mod permits;
mod read;
mod readers;
mod tables;
mod write;

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use jiff::Timestamp;
use redb::Database;

use self::file::File;
use self::readers::Readers;
use super::calls::Calls;
use super::filter::Found;
use super::group::{self, Group};
use super::{CellKey, Draft, EventFilter, RateCounter, Store, StoreError, StoreStatus};
use crate::chain::SealedEvent;
use crate::ledger::PermitEntry;
use crate::permit_key::{PermitId, PermitKey};

/// Permits and events in one file.
///
/// ```
/// use atlasent_authority::{LocalAuthority, Policies, RedbStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("authority.redb");
/// # futures_executor::block_on(async {
/// let policies = Policies::parse("permit (principal, action, resource);")?;
/// let store = RedbStore::open(path)?;
/// let authority = LocalAuthority::builder(policies).store(store).build().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// When the disk is full or goes away, changes are refused; each new one tries again, so that the store recovers by
/// itself.
#[derive(Debug)]
pub struct RedbStore {
    group: Group,
    readers: Readers,
    /// A thread of its own: whether the store is well is told beside the longest reads.
    status: Readers,
    calls: Calls,
    /// Goes last: without the others the writer comes to its end.
    _writer: Writer,
}

/// The writer's thread. Whoever drops it waits until the file is closed, for a file that is not is mended when it is next
/// opened, and cannot be opened by others yet.
#[derive(Debug)]
struct Writer(Option<JoinHandle<()>>);

impl Drop for Writer {
    fn drop(&mut self) {
        // A writer that has panicked has closed the file, too.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

impl RedbStore {
    /// Opens the store in a file, and makes it if it is not there. Its folder has to be.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file cannot be opened, is no store, or is in use by another process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let file = Arc::new(File {
            path: path.as_ref().to_owned(),
            open: RwLock::new(None),
        });
        file.database()?;
        let readers = Readers::start(&file, reading_threads())?;
        let status = Readers::start(&file, 1)?;
        let (group, jobs) = group::queue();
        let writer = std::thread::Builder::new()
            .name("atlasent-store".to_owned())
            .spawn(move || write::write(&file, jobs))
            .map_err(StoreError::failed)?;
        Ok(Self {
            group,
            readers,
            status,
            calls: Calls::default(),
            _writer: Writer(Some(writer)),
        })
    }
}

/// Half of the processors, and 4 at the most: the other half is for deciding.
fn reading_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 4)
}

impl Store for RedbStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.group.commit(now, reads, change).await
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let mut found = Found::new(limit, filter);
        let mut next = Some(after);
        while let Some(after) = next {
            let filter = filter.clone();
            let read = move |database: &Database| {
                let next = read::events(database, after, &mut found, &filter)?;
                Ok((found, next))
            };
            (found, next) = self.readers.turn(read).await?;
        }
        Ok(found.into_events())
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut next = Some(0);
        while let Some(after) = next {
            let filter = filter.clone();
            let read = move |database: &Database| read::count(database, after, &filter);
            let (here, following) = self.readers.turn(read).await?;
            count += here;
            next = following;
        }
        Ok(count)
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        let read = move |database: &Database| permits::before(database, before, limit);
        self.readers.turn(read).await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        let read = move |database: &Database| permits::key_of(database, id);
        self.status.turn(read).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.status.turn(read::status).await
    }
}

impl RateCounter for RedbStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        Ok(self.calls.count(counter, minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_dropped_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            // Another process would have to wait for it no longer, either.
            RedbStore::open(folder.path().join("store.redb")).unwrap();
        }
    }
}
