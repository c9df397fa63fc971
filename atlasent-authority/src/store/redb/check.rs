//! The offline check of a store's file: its pages, its chain, and its cells.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::RedbStore;
use super::file::{CACHE, explain, folder_of};
use super::tables::{CELLS, EVENTS, EXPIRY, FORMAT, META, dropped, head, parse, sealed};
use crate::store::check::{StoreCheck, StoreReport};
use crate::store::{Cell, StoreError, StoreStatus};

impl RedbStore {
    /// Checks the store in a file, without changing it: every page of the file, every event with
    /// its hash and its link, the head, the cells and the index of their expiry.
    ///
    /// It works on a temporary copy in the file's folder, which needs as much disk space as the
    /// file. It blocks.
    ///
    /// ```
    /// use atlasent_authority::RedbStore;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("authority.redb");
    /// drop(RedbStore::open(&path)?);
    /// assert!(RedbStore::check(&path)?.is_good());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file is not a readable store, or is in use by another process.
    pub fn check(path: impl AsRef<Path>) -> Result<StoreReport, StoreError> {
        let path = path.as_ref();
        let check = || {
            let copy = copy_of(path)?;
            if copy.metadata()?.len() == 0 {
                return Err(redb::Error::Corrupted(
                    "it is empty: restore a backup".to_owned(),
                ));
            }
            let database = Database::builder()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(true)
                .create_with_backend(FileBackend::new(copy)?)?;
            read(&database.begin_read()?)
        };
        // The library may panic on damage that it does not detect.
        let checked = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| {
            Err(redb::Error::Corrupted(
                "it cannot be read as a store: restore a backup".to_owned(),
            ))
        });
        checked.map_err(|error| explain(path, &error))
    }
}

/// Copies the file into one without a name, which may be repaired: an unclosed file has to be.
fn copy_of(path: &Path) -> Result<File, redb::Error> {
    let mut file = File::open(path)?;
    // Keeps other processes from opening the file until the copy is made. An unclosed file cannot
    // be opened read-only; then no process has it open.
    let opened = Database::builder().open_read_only(path);
    if let Err(redb::DatabaseError::DatabaseAlreadyOpen) = opened {
        return Err(redb::Error::DatabaseAlreadyOpen);
    }
    let mut copy = tempfile::tempfile_in(folder_of(path)).or_else(|_| tempfile::tempfile())?;
    std::io::copy(&mut file, &mut copy)?;
    copy.seek(SeekFrom::Start(0))?;
    Ok(copy)
}

fn read(transaction: &ReadTransaction) -> Result<StoreReport, redb::Error> {
    let meta = transaction.open_table(META)?;
    let format = meta.get("format")?.map(|format| format.value().to_owned());
    if format.as_deref() != Some(FORMAT) {
        return Err(redb::Error::UpgradeRequired(0));
    }
    let mut check = StoreCheck::new(StoreStatus {
        head: head(&meta)?,
        dropped: dropped(&meta)?,
        cells: transaction.open_table(CELLS)?.len()?,
    });
    for entry in transaction.open_table(EVENTS)?.iter()? {
        let (sequence, event) = entry?;
        check.push(&sealed(sequence.value(), event.value()));
    }
    read_cells(transaction, &mut check)?;
    Ok(check.finish())
}

fn read_cells(transaction: &ReadTransaction, report: &mut StoreCheck) -> Result<(), redb::Error> {
    let cells = transaction.open_table(CELLS)?;
    for entry in cells.iter()? {
        let (key, cell) = entry?;
        if parse::<Cell>(cell.value()).is_err() {
            let name = base16ct::lower::encode_string(key.value());
            report.find(format!("the entry {name} of the ledger cannot be read"));
        }
    }
    let expiry = transaction.open_table(EXPIRY)?;
    for entry in expiry.iter()? {
        let (key, _) = entry?;
        let (_, key) = key.value();
        if cells.get(key)?.is_none() {
            let name = base16ct::lower::encode_string(key);
            report.find(format!(
                "the index of times names an entry that is missing: {name}"
            ));
        }
    }
    let (kept, indexed) = (cells.len()?, expiry.len()?);
    if kept != indexed {
        report.find(format!(
            "the ledger has {kept} entries, and the index of their times {indexed}"
        ));
    }
    Ok(())
}
