//! The offline check of a store's file: its pages, its chain, and its cells.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableHandle,
};

use super::file::{CACHE, explain, folder_of};
use super::index;
use super::recent::Recent;
use super::tables::{
    self, FORMAT, Tables, WITH_APPROVALS, WITH_ORGANIZATIONS, WITH_RECENT, indexed, parse, sealed,
};
use super::{RedbStore, approvals, read};
use crate::store::check::{StoreCheck, StoreReport};
use crate::store::{Cell, CellKey, OrgId, StoreError};

impl RedbStore {
    /// Checks the store in a file, without changing it: every page of the file, and of each
    /// organization every event with its hash and its link, the head, the cells and all indexes.
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
            read_all(&database.begin_read()?)
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

fn read_all(transaction: &ReadTransaction) -> Result<StoreReport, redb::Error> {
    let local = Tables::new(&OrgId::local());
    let meta = transaction.open_table(local.meta())?;
    let format = meta.get("format")?.map(|format| format.value().to_owned());
    if !matches!(
        format.as_deref(),
        Some(FORMAT | WITH_ORGANIZATIONS | WITH_APPROVALS | WITH_RECENT)
    ) {
        return Err(redb::Error::UpgradeRequired(0));
    }
    let mut report = read_one(transaction, &local)?;
    for org in tables::after(transaction, None, usize::MAX)? {
        let other = read_one(transaction, &Tables::new(&org))?;
        report.others.insert(org, other);
    }
    Ok(report)
}

/// Checks one organization.
fn read_one(transaction: &ReadTransaction, tables: &Tables) -> Result<StoreReport, redb::Error> {
    let meta = transaction.open_table(tables.meta())?;
    let names: Vec<_> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    let missing = |name: &str| !names.iter().any(|table| table == name);
    let recent = Recent::read(transaction, tables.org())?;
    let mut check = StoreCheck::new(read::status_of(transaction, tables, &recent)?);
    for entry in transaction.open_table(tables.events())?.iter()? {
        let (sequence, event) = entry?;
        check.push(&sealed(sequence.value(), event.value()));
    }
    for (sequence, event) in recent.events() {
        check.push(&sealed(sequence, event));
    }
    if missing(tables.index().name()) || missing(tables.permits().name()) {
        check.find("its indexes are missing: open the store once, which makes them".to_owned());
    } else {
        read_index(transaction, tables, indexed(&meta)?, &mut check)?;
        read_cells(transaction, tables, &mut check)?;
        read_recent_cells(&recent, &mut check);
        read_approvals(transaction, tables, &recent, &mut check)?;
    }
    Ok(check.finish())
}

/// Checks that the index has exactly the entries of the events that it reaches to. Events that were
/// dropped a moment ago may still be in both.
fn read_index(
    transaction: &ReadTransaction,
    tables: &Tables,
    indexed: Option<u64>,
    report: &mut StoreCheck,
) -> Result<(), redb::Error> {
    let index = transaction.open_table(tables.index())?;
    let mut entries = 0;
    for entry in transaction
        .open_table(tables.events())?
        .range(..=indexed.unwrap_or(u64::MAX))?
    {
        let (sequence, event) = entry?;
        let (sequence, (kind, actor, ..)) = (sequence.value(), event.value());
        let mut is_found = true;
        for (kind, actor) in index::keys(kind, actor) {
            entries += 1;
            is_found &= index.get((kind, actor, sequence))?.is_some();
        }
        if !is_found {
            report.find(format!("the index of events lacks event {sequence}"));
        }
    }
    let kept = index.len()?;
    if kept > entries {
        report.find(format!(
            "the index of events has {kept} entries, and the events have {entries}"
        ));
    }
    Ok(())
}

fn read_cells(
    transaction: &ReadTransaction,
    tables: &Tables,
    report: &mut StoreCheck,
) -> Result<(), redb::Error> {
    let cells = transaction.open_table(tables.cells())?;
    let permits = transaction.open_table(tables.permits())?;
    for entry in cells.iter()? {
        let (key, cell) = entry?;
        let name = || base16ct::lower::encode_string(key.value());
        let Ok(cell) = parse::<Cell>(cell.value()) else {
            report.find(format!("the entry {} of the ledger cannot be read", name()));
            continue;
        };
        if let Some(permit) = cell.permit() {
            let listed = permits.get(permit.sequence)?;
            if listed.is_none_or(|listed| listed.value() != key.value()) {
                report.find(format!("the list of permits lacks the entry {}", name()));
            }
        }
    }
    for entry in permits.iter()? {
        let (sequence, key) = entry?;
        let (sequence, cell) = (sequence.value(), cells.get(key.value())?);
        let cell = cell.map(|cell| parse::<Cell>(cell.value())).transpose();
        // An unreadable cell is reported above.
        let is_missing = cell.is_ok_and(|cell| {
            let permit = cell.as_ref().and_then(Cell::permit);
            permit.is_none_or(|permit| permit.sequence != sequence)
        });
        if is_missing {
            report.find(format!(
                "the list of permits names one of event {sequence} that is missing"
            ));
        }
    }
    let expiry = transaction.open_table(tables.expiry())?;
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

fn read_recent_cells(recent: &Recent<'_>, report: &mut StoreCheck) {
    for (key, cell) in recent.cells() {
        let cell = parse::<Cell>(cell);
        // The lists of pending decisions do not have recent ones.
        if cell.is_err() || cell.is_ok_and(|cell| cell.approval().is_some()) {
            let name = base16ct::lower::encode_string(key);
            report.find(format!(
                "the recent entry {name} of the ledger cannot be read"
            ));
        }
    }
}

/// Checks that each decision is in its list and in no other, and that the count of open ones is
/// right.
fn read_approvals(
    transaction: &ReadTransaction,
    tables: &Tables,
    recent: &Recent<'_>,
    report: &mut StoreCheck,
) -> Result<(), redb::Error> {
    let cells = transaction.open_table(tables.cells())?;
    let lists = approvals::lists(transaction, tables)?;
    let (mut listed, mut open, mut counted) = (0, 0, 0);
    for entry in cells.iter()? {
        let (key, cell) = entry?;
        // An unreadable cell is reported above.
        match parse::<Cell>(cell.value()) {
            Ok(Cell::Approval(entry)) => {
                open += u64::from(entry.is_open());
                let found = match &lists {
                    Some(lists) => lists.get(approvals::place(&entry))?,
                    None => None,
                };
                if found.is_some_and(|found| found.value() == key.value()) {
                    listed += 1;
                } else {
                    let id = entry.id;
                    report.find(format!("the lists of pending decisions lack `{id}`"));
                }
            }
            Ok(Cell::OpenApprovals(count)) => counted = count,
            _ => {}
        }
    }
    let count = recent.cells().remove(&CellKey::OpenApprovals.to_bytes());
    if let Some(Ok(Cell::OpenApprovals(count))) = count.map(parse) {
        counted = count;
    }
    let entries = lists.map_or(Ok(0), |lists| lists.len())?;
    if entries != listed {
        report.find(format!(
            "the lists of pending decisions have {entries} entries, and {listed} of them are right"
        ));
    }
    report.compare_open(open, counted);
    Ok(())
}
