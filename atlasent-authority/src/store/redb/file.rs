//! The open file, what is in a new one, and what to do about one that fails.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{Database, ReadableTable};

use super::tables::{CELLS, EVENTS, EXPIRY, FORMAT, META, json};
use crate::chain::ChainHead;
use crate::files::open_or_create;
use crate::store::StoreError;

/// How much of the file is in memory at most, in bytes.
const CACHE: usize = 64 * 1024 * 1024;

/// The file, open unless it has failed.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) open: RwLock<Option<Arc<Database>>>,
}

impl File {
    /// The open file. One that has failed is opened again, for the disk may be back.
    pub(super) fn database(&self) -> Result<Arc<Database>, StoreError> {
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
    pub(super) fn failed(&self, error: redb::Error) -> StoreError {
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

pub(super) fn open_file(path: &Path) -> Result<Database, redb::Error> {
    // An empty file is a new store.
    let file = open_or_create(path)?;
    let database = Database::builder()
        .set_cache_size(CACHE)
        .create_with_backend(FileBackend::new(file)?)?;
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
