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
mod permits;
mod read;
mod readers;
mod tables;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase};

use self::file::File;
use self::readers::Readers;
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

    fn start(file: File) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let readers = Readers::start(&file, reading_threads())?;
        let status = Readers::start(&file, 1)?;
        let folder = file.folder();
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
        let found = readers.turn(read).await?;
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
        self.file.readers.turn(copy).await
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
        let create = move |database: &Database| tables::create(database, &tables);
        self.file.status.turn(create).await
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
        self.file.status.turn(list).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewEvent;

    async fn record(store: &RedbStore) -> Result<u64, StoreError> {
        let change = |changeset: &mut Changeset<'_>| {
            changeset.record(NewEvent::new("policy.loaded")).sequence
        };
        store
            .commit(Timestamp::UNIX_EPOCH, Vec::new(), change)
            .await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_writer_that_panics_answers_with_an_error_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(folder.path().join("store.redb")).unwrap());
        assert_eq!(record(&store).await.unwrap(), 1);
        for round in 0..3 {
            // The change runs on the writer's thread.
            let arm = |changeset: &mut Changeset<'_>| {
                write::faults::arm();
                drop(changeset.record(NewEvent::new("policy.loaded")));
            };
            let hit = store.commit(Timestamp::UNIX_EPOCH, Vec::new(), arm).await;
            let text = hit.unwrap_err().to_string();
            assert!(text.contains("writing the store panicked"), "{text}");
            assert_eq!(
                record(&store).await.unwrap(),
                round + 2,
                "nothing of it was kept"
            );
        }
        assert_eq!(store.status().await.unwrap().head.sequence, 4);
        drop(store);
        let again = RedbStore::open_existing(folder.path().join("store.redb")).unwrap();
        assert_eq!(record(&again).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_reader_that_panics_answers_with_an_error_and_harms_nobody_after() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path().join("store.redb")).unwrap();
        let fault =
            |_: &Database| -> Result<(), redb::Error> { panic!("a fault that a test injected") };
        let text = store
            .file
            .readers
            .turn(fault)
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("reading the store panicked"), "{text}");
        assert_eq!(record(&store).await.unwrap(), 1);
        assert_eq!(store.status().await.unwrap().head.sequence, 1);
    }

    /// Writes to a closed store's file as somebody might who knows its format.
    fn tamper(path: &Path, change: impl FnOnce(&redb::WriteTransaction, &Tables)) {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction, &Tables::new(&OrgId::local()));
        transaction.commit().unwrap();
    }

    #[test]
    fn a_check_names_what_was_cut_out_changed_or_left_behind() {
        type Change = fn(&redb::WriteTransaction, &Tables);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let whole = folder.path().join("whole.redb");
        let store = RedbStore::open(&whole).unwrap();
        for _ in 0..5 {
            futures_executor::block_on(record(&store)).unwrap();
        }
        drop(store);
        assert!(RedbStore::check(&whole).unwrap().is_good());
        let changes: [(Change, &str); 9] = [
            (
                |to, of| drop(to.open_table(of.events()).unwrap().remove(5).unwrap()),
                "event 5 is missing",
            ),
            (
                |to, of| drop(to.open_table(of.events()).unwrap().remove(1).unwrap()),
                "event 1 is missing",
            ),
            (
                |to, of| {
                    let mut events = to.open_table(of.events()).unwrap();
                    events.retain_in(2..=3, |_, _| false).unwrap();
                },
                "events 2 to 3 are missing",
            ),
            (
                |to, of| {
                    let mut meta = to.open_table(of.meta()).unwrap();
                    meta.insert("dropped", "1").unwrap();
                },
                "event 1 is",
            ),
            (
                |to, of| {
                    let mut cells = to.open_table(of.cells()).unwrap();
                    cells.insert(&[b'p'; 33], &b"nonsense"[..]).unwrap();
                },
                "of the ledger cannot be read",
            ),
            (
                |to, of| {
                    let mut expiry = to.open_table(of.expiry()).unwrap();
                    expiry.insert((7, &[b'p'; 33]), ()).unwrap();
                },
                "the index of times names an entry that is missing",
            ),
            (
                |to, of| {
                    let mut index = to.open_table(of.index()).unwrap();
                    index.remove(("policy.loaded", "", 3)).unwrap();
                },
                "the index of events lacks event 3",
            ),
            (
                |to, of| {
                    let mut index = to.open_table(of.index()).unwrap();
                    index.insert(("evaluate.deny", "", 3), 1).unwrap();
                },
                "the index of events has 6 entries, and the events have 5",
            ),
            (
                |to, of| {
                    let mut permits = to.open_table(of.permits()).unwrap();
                    permits.insert(3, &[b'p'; 33]).unwrap();
                },
                "the list of permits names one of event 3 that is missing",
            ),
        ];
        for (change, expected) in changes {
            std::fs::copy(&whole, &path).unwrap();
            tamper(&path, change);
            let report = RedbStore::check(&path).unwrap();
            assert!(!report.is_good());
            let said = report.problems.join("; ");
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }

    #[test]
    fn backups_and_checks_cover_every_organization() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
        let acme: OrgId = "acme".parse().unwrap();
        futures_executor::block_on(async {
            let store = RedbStore::open(&path).unwrap();
            assert!(store.create_organization(&acme).await.unwrap());
            let acme = store.organization(&acme);
            assert_eq!(record(&acme).await.unwrap(), 1);
            assert!(acme.backup().await.is_err(), "a copy of the others, too");
            let mut backup = store.backup().await.unwrap();
            std::io::copy(&mut backup, &mut std::fs::File::create(&copy).unwrap()).unwrap();
        });
        let report = RedbStore::check(&copy).unwrap();
        assert!(report.is_good() && report.others[&acme].head.sequence == 1);
        let database = Database::create(&copy).unwrap();
        let transaction = database.begin_write().unwrap();
        let tables = Tables::new(&acme);
        drop(transaction.open_table(tables.events()).unwrap().remove(1));
        transaction.commit().unwrap();
        drop(database);
        let report = RedbStore::check(&copy).unwrap();
        assert!(!report.is_good() && report.found == 0);
        let problems = report.others[&acme].problems.join("; ");
        assert!(problems.contains("event 1 is missing"), "{problems}");
    }

    #[test]
    fn a_file_with_organizations_is_refused_by_releases_that_know_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = RedbStore::open(&path).unwrap();
        let acme: OrgId = "acme".parse().unwrap();
        futures_executor::block_on(store.create_organization(&acme)).unwrap();
        drop(store);
        let database = Database::create(&path).unwrap();
        let meta = database.begin_read().unwrap();
        let meta = meta
            .open_table(Tables::new(&OrgId::local()).meta())
            .unwrap();
        // Those releases accept the formats 1 and 2.
        assert_eq!(meta.get("format").unwrap().unwrap().value(), "3");
    }

    #[test]
    fn a_store_that_is_dropped_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            // Another process would have to wait for it no longer, either.
            RedbStore::open(folder.path().join("store.redb")).unwrap();
        }
    }
}
