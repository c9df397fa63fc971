//! The durable store in one file, by `redb`, for one process at a time.
//!
//! One thread writes. Changes that arrive while it waits for the disk share its next transaction,
//! and its one `fsync`.

mod approvals;
mod backup;
mod check;
mod chore;
mod file;
mod index;
mod known;
mod permits;
mod read;
mod readers;
mod recent;
mod recovery;
mod save;
mod tables;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase};

use self::file::File;
use self::readers::Readers;
use self::recovery::FastRecovery;
use self::tables::Tables;
use super::calls::Calls;
use super::group::{self, Group};
use super::{
    ApprovalEntry, ApprovalKey, ApprovalList, CellKey, Changeset, OrgId, Organizations,
    RateCounter, Store, StoreError, StoreStatus,
};
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;
use crate::trail::filter::EventCollector;

/// A durable store in one file, for one process at a time.
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
/// When the disk is full or goes away, changes are refused. Each new change tries again, so the
/// store recovers by itself.
///
/// A store is that of one organization: `local`, unless [`organization`](Organizations::organization)
/// returned it. Organizations share the file and its transactions. Clones share the store.
#[derive(Clone, Debug)]
pub struct RedbStore {
    group: Group,
    tables: Arc<Tables>,
    /// Dropped last: the writer ends when all groups are dropped.
    file: Arc<OpenFile>,
}

/// What all organizations of a file share.
#[derive(Debug)]
struct OpenFile {
    readers: Readers,
    /// The thread that reports the store's status, so that long reads do not delay it.
    status: Readers,
    calls: Calls,
    recovery: FastRecovery,
    /// The folder of backups: that of the file.
    folder: std::path::PathBuf,
    /// Held while a backup is made.
    backups: Arc<tokio::sync::Mutex<()>>,
    /// Dropped last.
    _writer: Writer,
}

/// The writer's thread. Dropping it waits until the file is closed, since an unclosed file is
/// repaired on the next open and cannot be opened by another process yet.
#[derive(Debug)]
struct Writer(Option<JoinHandle<()>>);

impl Drop for Writer {
    fn drop(&mut self) {
        // A writer that has panicked has closed the file, too.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

impl RedbStore {
    /// Opens the store in a file, and creates the file if it does not exist. Its folder must exist.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file cannot be opened, is not a store, or is in use by another
    /// process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::start(File::open(path.as_ref(), true)?)
    }

    /// Opens the store in an existing file. A missing or empty file is an error, so that a chain
    /// that was removed is not silently started anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file is missing, is empty, cannot be opened, is not a store, or is
    /// in use by another process.
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

    /// Makes the open after a crash fast, from the next change on. By default, it reads the whole
    /// file: a few seconds for each gigabyte. With this, each change flushes the disk twice, and an
    /// open takes as long as after a proper close.
    ///
    /// ```
    /// use atlasent_authority::RedbStore;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let store = RedbStore::open(folder.path().join("authority.redb"))?.with_fast_recovery();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_fast_recovery(self) -> Self {
        self.file.recovery.enable();
        self
    }

    fn start(file: File) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let readers = Readers::start(&file, reading_threads())?;
        let status = Readers::start(&file, 1)?;
        let (folder, recovery) = (file.folder(), file.recovery.clone());
        let (group, jobs) = group::queue();
        let writer = std::thread::Builder::new()
            .name("atlasent-store".to_owned())
            .spawn(move || write::write(&file, &jobs))
            .map_err(StoreError::failed)?;
        Ok(Self {
            group,
            tables: Arc::new(Tables::new(&OrgId::local())),
            file: Arc::new(OpenFile {
                readers,
                status,
                calls: Calls::default(),
                recovery,
                folder,
                backups: Arc::default(),
                _writer: Writer(Some(writer)),
            }),
        })
    }

    /// Reads the organization's tables in a turn of these readers.
    async fn read<T: Send + 'static>(
        &self,
        readers: &Readers,
        read: impl FnOnce(&Database, &Tables) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tables = Arc::clone(&self.tables);
        let read = move |database: &Database| match tables.exist(database)? {
            true => read(database, &tables).map(Some),
            false => Ok(None),
        };
        let found = readers.turn(self.tables.org(), read).await?;
        found.ok_or_else(|| StoreError::UnknownOrganization(self.tables.org().clone()))
    }
}

/// Returns the number of reading threads: half of the processors, and at most 4. The other half is
/// for deciding.
fn reading_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 4)
}

impl Store for RedbStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        self.group.commit(now, reads, change).await
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let mut found = EventCollector::new(limit, filter);
        let mut next = Some(after);
        while let Some(after) = next {
            let filter = filter.clone();
            let read = move |database: &Database, tables: &Tables| {
                let next = read::events(database, tables, after, &mut found, &filter)?;
                Ok((found, next))
            };
            (found, next) = self.read(&self.file.readers, read).await?;
        }
        Ok(found.into_events())
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut next = Some(0);
        while let Some(after) = next {
            let filter = filter.clone();
            let read = move |database: &Database, tables: &Tables| {
                read::count(database, tables, after, &filter)
            };
            let (here, following) = self.read(&self.file.readers, read).await?;
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
        let read = move |database: &Database, tables: &Tables| {
            permits::before(database, tables, before, limit)
        };
        self.read(&self.file.readers, read).await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        let read =
            move |database: &Database, tables: &Tables| permits::key_of(database, tables, id);
        self.read(&self.file.status, read).await
    }

    async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, StoreError> {
        let read = move |database: &Database, tables: &Tables| {
            approvals::before(database, tables, list, before, limit)
        };
        self.read(&self.file.readers, read).await
    }

    async fn approval(&self, key: ApprovalKey) -> Result<Option<ApprovalEntry>, StoreError> {
        let read =
            move |database: &Database, tables: &Tables| approvals::one(database, tables, key);
        self.read(&self.file.status, read).await
    }

    async fn backup(&self) -> Result<std::fs::File, StoreError> {
        if !self.group.org().is_local() {
            return Err(StoreError::Unsupported(
                "an organization cannot be backed up by itself: back up the whole store",
            ));
        }
        // A copy needs as much disk space as the store, so backups are made one at a time.
        let only = Arc::clone(&self.file.backups).try_lock_owned();
        let only =
            only.map_err(|_| StoreError::failed("another backup is in progress: wait for it"))?;
        let folder = self.file.folder.clone();
        let copy = move |database: &Database| {
            let copy = backup::copy(database, &folder);
            drop(only);
            copy
        };
        self.file.readers.turn(self.group.org(), copy).await
    }

    async fn backup_has_others(&self) -> Result<bool, StoreError> {
        let others = self.organizations(None, 1).await?;
        Ok(!others.is_empty())
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.read(&self.file.status, read::status).await
    }
}

impl RateCounter for RedbStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        let counter = self.group.org().counter(counter);
        Ok(self.file.calls.count(&counter, minute))
    }
}

impl Organizations for RedbStore {
    type Store = Self;

    fn organization(&self, id: &OrgId) -> Self {
        Self {
            group: self.group.organization(id),
            tables: Arc::new(Tables::new(id)),
            file: Arc::clone(&self.file),
        }
    }

    async fn create_organization(&self, id: &OrgId) -> Result<bool, StoreError> {
        let tables = Tables::new(id);
        let recovery = self.file.recovery.clone();
        let create = move |database: &Database| tables::create(database, &recovery, &tables);
        self.file.status.turn(id, create).await
    }

    async fn organizations(
        &self,
        after: Option<&OrgId>,
        limit: usize,
    ) -> Result<Vec<OrgId>, StoreError> {
        let after = after.cloned();
        let list = move |database: &Database| {
            tables::after(&database.begin_read()?, after.as_ref(), limit)
        };
        self.file.status.turn(self.group.org(), list).await
    }
}

#[cfg(test)]
mod tests;
