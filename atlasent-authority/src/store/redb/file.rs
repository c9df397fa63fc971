//! The open file: creating, opening and reopening it, and explaining its errors.

use std::fs::Metadata;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Database, ReadableTable, TableHandle, WriteTransaction};

use super::recovery::FastRecovery;
use super::tables::{
    FORMAT, Tables, WITH_APPROVALS, WITH_ORGANIZATIONS, WITH_RECENT, WITHOUT_INDEX, parse,
};
use crate::files::{open_existing, open_or_create};
use crate::store::{Cell, OrgId, StoreError};

/// How much of the file is in memory at most, in bytes.
pub(super) const CACHE: usize = 64 * 1024 * 1024;

const EMPTY: &str = "it holds no chain: restore a backup";
const REPLACED: &str = "another file was put in its place while it was open: put the former one back, or stop this \
    process and restore a backup";
const GONE: &str = "it was moved away or deleted while it was open: put it back, or stop this process and restore a backup";

/// The store's file. It is closed after an error of the medium, and reopened by the next operation.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// The identity of the file that was opened first. Another file at the same path is never
    /// opened in its place.
    id: FileId,
    open: RwLock<Option<Arc<Database>>>,
    pub(super) recovery: FastRecovery,
}

/// Tells a file from another one at the same path. On systems without device and inode numbers, all
/// files have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// An open database, with the identity of its file.
struct Opened {
    database: Database,
    id: FileId,
}

impl FileId {
    fn from_metadata(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Self {
                device: metadata.dev(),
                inode: metadata.ino(),
            }
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Self {
                device: 0,
                inode: 0,
            }
        }
    }
}

impl File {
    /// Opens the file. Creates a new store if `may_create` is set.
    pub(super) fn open(path: &Path, may_create: bool) -> Result<Self, StoreError> {
        let opened = open_file(path, may_create, None).map_err(|error| explain(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            id: opened.id,
            open: RwLock::new(Some(Arc::new(opened.database))),
            recovery: FastRecovery::default(),
        })
    }

    /// Refuses to continue when the path no longer leads to the open file: writes to a moved or
    /// deleted file would be lost when the process ends.
    fn check_place(&self) -> Result<(), StoreError> {
        let found = std::fs::metadata(&self.path).map(|metadata| FileId::from_metadata(&metadata));
        let why = match found {
            Ok(id) if id == self.id => return Ok(()),
            Ok(_) => redb::Error::Corrupted(REPLACED.to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                redb::Error::Corrupted(GONE.to_owned())
            }
            Err(error) => error.into(),
        };
        Err(explain(&self.path, &why))
    }

    /// Returns the open database. A file that was closed after an error is opened again, since the
    /// disk may work again.
    pub(super) fn database(&self) -> Result<Arc<Database>, StoreError> {
        self.check_place()?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        drop(open);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        let opened = open_file(&self.path, false, Some(&self.id));
        let opened = opened.map_err(|error| explain(&self.path, &error))?;
        Ok(Arc::clone(open.insert(Arc::new(opened.database))))
    }

    /// Closes the file and explains the error: after an I/O error `redb` takes no changes until the
    /// file is opened again. A file with an entry that cannot be read stays open: to open it again
    /// would mend nothing, and refuse what others do meanwhile.
    pub(super) fn failed(&self, error: redb::Error) -> StoreError {
        if !matches!(error, redb::Error::Corrupted(_)) {
            self.close();
        }
        explain(&self.path, &error)
    }

    /// Returns the folder of the file.
    pub(super) fn folder(&self) -> PathBuf {
        folder_of(&self.path)
    }

    /// Closes the file. The next operation opens it again.
    pub(super) fn close(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = None;
    }
}

/// Returns the folder of a path.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

pub(super) fn explain(path: &Path, error: &redb::Error) -> StoreError {
    let path = path.display();
    let what = match error {
        redb::Error::Corrupted(what) => what.clone(),
        redb::Error::DatabaseAlreadyOpen => {
            "another process has it open: stop that one, or give this one another file".to_owned()
        }
        redb::Error::UpgradeRequired(_) => {
            "it was written by another version: export its trail with that one".to_owned()
        }
        redb::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => {
                format!(
                    "it has no room to grow ({error}): free some space, and it recovers by itself"
                )
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

/// Opens the file. Creates the tables of a new store if `may_create` is set.
///
/// A panic of the library on a damaged file becomes an error.
fn open_file(
    path: &Path,
    may_create: bool,
    expected: Option<&FileId>,
) -> Result<Opened, redb::Error> {
    let open = || {
        let file = match may_create {
            true => open_or_create(path)?,
            false => open_existing(path)?,
        };
        let id = FileId::from_metadata(&file.metadata()?);
        if expected.is_some_and(|expected| *expected != id) {
            return Err(redb::Error::Corrupted(REPLACED.to_owned()));
        }
        if !may_create && file.metadata()?.len() == 0 {
            return Err(redb::Error::Corrupted(EMPTY.to_owned()));
        }
        // An empty file becomes a new store.
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create_with_backend(FileBackend::new(file)?)?;
        prepare(&database, may_create)?;
        Ok(Opened { database, id })
    };
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted(
            "it cannot be read as a store: restore a backup".to_owned(),
        ))
    })
}

/// Compares the format. Creates the tables of a new store if `may_create` is set.
fn prepare(database: &Database, may_create: bool) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let tables = Tables::new(&OrgId::local());
    {
        let mut meta = transaction.open_table(tables.meta())?;
        let format = meta.get("format")?.map(|format| format.value().to_owned());
        match format.as_deref() {
            // A backup of this format may lack the index.
            Some(WITH_RECENT | WITH_APPROVALS | WITH_ORGANIZATIONS | FORMAT | WITHOUT_INDEX) => {
                if !has_table(&transaction, tables.index().name())? {
                    // The writer makes the index, a few events at a time.
                    if format.as_deref() == Some(WITHOUT_INDEX) {
                        meta.insert("format", FORMAT)?;
                    }
                    meta.insert("indexed", "0")?;
                    transaction.open_table(tables.index())?;
                }
                if !has_table(&transaction, tables.permits().name())? {
                    list_permits(&transaction, &tables)?;
                }
            }
            Some(_) => return Err(redb::Error::UpgradeRequired(0)),
            None if !may_create => return Err(redb::Error::Corrupted(EMPTY.to_owned())),
            None => {
                meta.insert("format", FORMAT)?;
                drop(meta);
                tables.create(&transaction)?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn has_table(transaction: &WriteTransaction, name: &str) -> Result<bool, redb::Error> {
    let mut tables = transaction.list_tables()?;
    Ok(tables.any(|table| table.name() == name))
}

/// Creates the list of permits from the cells, in a file of an earlier release.
fn list_permits(transaction: &WriteTransaction, tables: &Tables) -> Result<(), redb::Error> {
    let mut permits = transaction.open_table(tables.permits())?;
    for entry in transaction.open_table(tables.cells())?.iter()? {
        let (key, cell) = entry?;
        if let Some(entry) = parse::<Cell>(cell.value())?.permit() {
            permits.insert(entry.sequence, key.value())?;
        }
    }
    Ok(())
}
