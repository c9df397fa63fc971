//! The store in one file, by `redb`: durable, for one process at a time.
//!
//! One thread writes. Changes that come while it waits for the disk share its next transaction, and its one `fsync`.

use std::fs::OpenOptions;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::calls::Calls;
use super::group::{self, Group, Job, Jobs};
use super::{Batch, Cell, CellKey, Draft, EventFilter, REMEMBERED, Store, StoreError, StoreStatus};
use crate::chain::{ChainHead, SealedEvent};
use crate::files::private;

/// What is in the tables, so that a later version can tell.
const FORMAT: &str = "1";

/// How much of the file is in memory at most, in bytes.
const CACHE: usize = 64 * 1024 * 1024;

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const CELLS: TableDefinition<'_, &[u8; 33], &[u8]> = TableDefinition::new("cells");
/// Which cells are over when, in microseconds since 1970.
const EXPIRY: TableDefinition<'_, (i64, &[u8; 33]), ()> = TableDefinition::new("expiry");
const EVENTS: TableDefinition<'_, u64, StoredEvent<'_>> = TableDefinition::new("events");

/// Kind, agent or nothing, time, previous hash, hash, payload.
type StoredEvent<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str);

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
        let file = Arc::new(File {
            path: path.as_ref().to_owned(),
            open: RwLock::new(None),
        });
        file.database()?;
        let (group, jobs) = group::queue();
        let writer = Arc::clone(&file);
        let writer = std::thread::Builder::new()
            .name("atlasent-store".to_owned())
            .spawn(move || write(&writer, jobs))
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
            .map_err(|_| StoreError::failed("the store could not be read"))?
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

/// The file, open unless it has failed.
#[derive(Debug)]
struct File {
    path: PathBuf,
    open: RwLock<Option<Arc<Database>>>,
}

impl File {
    /// The open file. One that has failed is opened again, for the disk may be back.
    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        drop(open);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        let database = open_file(&self.path).map_err(|error| self.explain(&error))?;
        Ok(Arc::clone(open.insert(Arc::new(database))))
    }

    /// After an error of the medium `redb` takes no more changes until the file is opened anew.
    fn failed(&self, error: redb::Error) -> StoreError {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = None;
        self.explain(&error)
    }

    fn explain(&self, error: &redb::Error) -> StoreError {
        let path = self.path.display();
        let what = match error {
            redb::Error::DatabaseAlreadyOpen => {
                "another process has it open: stop that one, or give this one another file"
                    .to_owned()
            }
            redb::Error::UpgradeRequired(_) => {
                "it was written by another version: export its trail with that one".to_owned()
            }
            redb::Error::Io(error) => match error.kind() {
                std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::FileTooLarge => {
                    format!("it has no room to grow ({error}): make room, and it goes on by itself")
                }
                std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                    format!("it cannot be written ({error}): let this process write to it")
                }
                _ => error.to_string(),
            },
            error => error.to_string(),
        };
        StoreError::failed(format!("`{path}`: {what}"))
    }
}

fn open_file(path: &Path) -> Result<Database, redb::Error> {
    // An empty file is a new store.
    let mut options = OpenOptions::new();
    private(options.write(true).create(true).truncate(false)).open(path)?;
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value().to_owned());
        match format.as_deref() {
            Some(FORMAT) => {}
            Some(_) => return Err(redb::Error::UpgradeRequired(0)),
            None => {
                meta.insert("format", FORMAT)?;
                meta.insert("head", &*json(&ChainHead::genesis("local"))?)?;
                transaction.open_table(CELLS)?;
                transaction.open_table(EXPIRY)?;
                transaction.open_table(EVENTS)?;
            }
        }
    }
    transaction.commit()?;
    Ok(database)
}

/// The writer's thread.
fn write(file: &File, mut jobs: Jobs) {
    while let Some(mut jobs) = jobs.blocking_next() {
        let result = file
            .database()
            .and_then(|database| keep(file, &database, &mut jobs));
        group::answer(jobs, &result);
    }
}

/// Runs the changes, and keeps what they leave in one transaction.
fn keep(file: &File, database: &Database, jobs: &mut [Job]) -> Result<(), StoreError> {
    let failed = |error: redb::Error| file.failed(error);
    let transaction = database
        .begin_write()
        .map_err(|error| failed(error.into()))?;
    let mut batch = load(&transaction, jobs).map_err(failed)?;
    group::run(jobs, &mut batch)?;
    if batch.is_empty() {
        return transaction.abort().map_err(|error| failed(error.into()));
    }
    save(&transaction, &batch, jobs.len()).map_err(failed)?;
    transaction.commit().map_err(|error| failed(error.into()))
}

fn load(transaction: &redb::WriteTransaction, jobs: &[Job]) -> Result<Batch, redb::Error> {
    let head = head(&transaction.open_table(META)?)?;
    let table = transaction.open_table(CELLS)?;
    let mut cells = Vec::new();
    for key in group::reads(jobs) {
        if let Some(cell) = table.get(&key.to_bytes())? {
            cells.push((key, parse(cell.value())?));
        }
    }
    Ok(Batch::new(head, cells))
}

fn save(
    transaction: &redb::WriteTransaction,
    batch: &Batch,
    changes: usize,
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let mut cells = transaction.open_table(CELLS)?;
    let mut expiry = transaction.open_table(EXPIRY)?;
    let mut events = transaction.open_table(EVENTS)?;
    for (key, cell) in batch.cells() {
        let key = key.to_bytes();
        if cells.insert(&key, json(cell)?.as_bytes())?.is_none() {
            expiry.insert((cell.expires_at().as_microsecond(), &key), ())?;
        }
    }
    for event in batch.events() {
        let actor = event.actor_id.as_deref().unwrap_or_default();
        let stored = (
            &*event.kind,
            actor,
            &*event.occurred_at,
            &*event.previous_hash,
            &*event.hash,
            &*event.payload,
        );
        events.insert(event.sequence, stored)?;
    }
    if let Some(through) = batch.dropped() {
        events.retain_in(..=through, |_, _| false)?;
        // What is gone stays gone, and nothing goes that is not there yet.
        let through = dropped(&meta)?.max(through.min(batch.head().sequence));
        meta.insert("dropped", &*through.to_string())?;
    }
    meta.insert("head", &*json(batch.head())?)?;
    // Twice as many as come in, so that whatever has piled up shrinks.
    forget(&mut cells, &mut expiry, batch.head().time, 2 * changes + 16)
}

/// Forgets the cells whose time is over for long.
fn forget(
    cells: &mut redb::Table<'_, &[u8; 33], &[u8]>,
    expiry: &mut redb::Table<'_, (i64, &[u8; 33]), ()>,
    time: Timestamp,
    most: usize,
) -> Result<(), redb::Error> {
    let Ok(over) = time.checked_sub(REMEMBERED) else {
        return Ok(());
    };
    let over = over.as_microsecond();
    for _ in 0..most {
        let Some((first, _)) = expiry.first()? else {
            break;
        };
        let (at, key) = first.value();
        let key = *key;
        drop(first);
        if at > over {
            break;
        }
        expiry.remove((at, &key))?;
        // A cell that was kept anew since then is over later.
        let again = cells
            .get(&key)?
            .map(|cell| parse(cell.value()))
            .transpose()?;
        let later = again.map(|cell: Cell| cell.expires_at().as_microsecond());
        match later.filter(|later| *later > over) {
            Some(later) => drop(expiry.insert((later, &key), ())?),
            None => drop(cells.remove(&key)?),
        }
    }
    Ok(())
}

fn head(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<ChainHead, redb::Error> {
    let Some(head) = meta.get("head")? else {
        return Err(redb::Error::Corrupted(
            "it has no head of a chain".to_owned(),
        ));
    };
    parse(head.value().as_bytes())
}

fn dropped(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<u64, redb::Error> {
    let dropped = meta.get("dropped")?;
    dropped.map_or(Ok(0), |text| parse(text.value().as_bytes()))
}

fn passes(filter: &EventFilter, sequence: u64, event: &StoredEvent<'_>) -> bool {
    let (kind, actor, occurred_at, ..) = *event;
    let actor = Some(actor).filter(|actor| !actor.is_empty());
    filter.passes_fields(sequence, kind, actor, occurred_at)
}

fn sealed(sequence: u64, event: StoredEvent<'_>) -> SealedEvent {
    let (kind, actor, occurred_at, previous_hash, hash, payload) = event;
    SealedEvent {
        sequence,
        kind: kind.to_owned().into(),
        actor_id: Some(actor.to_owned()).filter(|actor| !actor.is_empty()),
        occurred_at: occurred_at.to_owned(),
        payload: payload.to_owned(),
        previous_hash: previous_hash.to_owned(),
        hash: hash.to_owned(),
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, redb::Error> {
    serde_json::to_string(value).map_err(|error| redb::Error::Corrupted(error.to_string()))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, redb::Error> {
    serde_json::from_slice(json).map_err(|error| {
        // Not the text itself: it may hold whatever a caller has sent.
        redb::Error::Corrupted(format!("an entry cannot be read: {error}"))
    })
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
