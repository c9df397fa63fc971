//! The store in one file, by `redb`: durable, for one process at a time.
//!
//! One thread writes. Changes that come while it waits for the disk share its next transaction, and its one `fsync`.

mod file;
mod tables;
mod write;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use tokio::sync::oneshot;

use self::file::File;
use self::tables::{CELLS, EVENTS, META, dropped, head, passes, sealed};
use super::calls::Calls;
use super::group::{self, Group};
use super::{CellKey, Draft, EventFilter, Store, StoreError, StoreStatus};
use crate::chain::SealedEvent;

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
    file: Arc<File>,
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
        Self::start(File::open(path.as_ref(), true)?)
    }

    /// Opens the store in a file that is one already. Neither a missing file nor an empty one becomes a new store, so that
    /// a chain which was removed is not silently begun anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file is missing, is empty, cannot be opened, is no store, or is in use by another process.
    ///
    /// ```
    /// use atlasent_authority::RedbStore;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("authority.redb");
    /// assert!(RedbStore::open_existing(&path).is_err());
    /// drop(RedbStore::open(&path)?);
    /// assert!(RedbStore::open_existing(&path).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::start(File::open(path.as_ref(), false)?)
    }

    fn start(file: File) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let (group, jobs) = group::queue();
        let writer = Arc::clone(&file);
        let writer = std::thread::Builder::new()
            .name("atlasent-store".to_owned())
            .spawn(move || write::write(&writer, jobs))
            .map_err(StoreError::failed)?;
        Ok(Self {
            group,
            file,
            calls: Calls::default(),
            _writer: Writer(Some(writer)),
        })
    }

    /// Runs a reader on a thread of its own: it may have to wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let (done, result) = oneshot::channel();
        std::thread::Builder::new()
            .name("atlasent-read".to_owned())
            .spawn(move || {
                let result = file
                    .database()
                    .and_then(|database| read(&database).map_err(|error| file.failed(error)));
                // Nobody waits for it any more.
                let _ = done.send(result);
            })
            .map_err(StoreError::failed)?;
        result
            .await
            .map_err(|_| StoreError::failed("reading the store panicked: try again"))?
    }
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
        let filter = filter.clone();
        self.read(move |database| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            let mut events = Vec::new();
            for entry in table.range((Bound::Excluded(after), Bound::Unbounded))? {
                if events.len() == limit {
                    break;
                }
                let (sequence, event) = entry?;
                let (sequence, event) = (sequence.value(), event.value());
                if passes(&filter, sequence, &event) {
                    events.push(Arc::new(sealed(sequence, event)));
                }
            }
            Ok(events)
        })
        .await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.read(move |database| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            if filter.is_all() {
                return Ok(table.len()?);
            }
            let mut count = 0;
            for entry in table.iter()? {
                let (sequence, event) = entry?;
                count += u64::from(passes(&filter, sequence.value(), &event.value()));
            }
            Ok(count)
        })
        .await
    }

    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        Ok(self.calls.count(counter, minute))
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.read(|database| {
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let head = head(&meta)?;
            Ok(StoreStatus {
                dropped: dropped(&meta)?,
                cells: transaction.open_table(CELLS)?.len()?,
                head,
            })
        })
        .await
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
