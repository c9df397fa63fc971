//! The lists of pending decisions, and reading them.
//!
//! One table holds both lists. Its key is the list and the sequence number of the event that opened
//! the decision; its value is the key of the decision's cell:
//!
//! ```text
//! (list, sequence)    cell
//! (0,    12)          h 3f…    open since event 12
//! (0,    40)          h 91…
//! (1,    7)           h c2…    closed
//! ```
//!
//! Closing the decision of event 12 removes the first row and adds `(1, 12)`. The newest open
//! decisions are read from the end of the range of list 0, however many are closed.

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableError, WriteTransaction,
};

use super::tables::{Tables, parse};
use crate::ledger::{ApprovalEntry, ApprovalKey};
use crate::store::{ApprovalList, Cell, CellKey};

/// Returns the key of a decision in the lists.
pub(super) fn place(entry: &ApprovalEntry) -> (u8, u64) {
    (number(ApprovalList::of(entry)), entry.sequence)
}

fn number(list: ApprovalList) -> u8 {
    match list {
        ApprovalList::Open => 0,
        ApprovalList::Closed => 1,
    }
}

/// Puts a decision into its list, and takes it out of the one that it was in before.
pub(super) fn file(
    transaction: &WriteTransaction,
    tables: &Tables,
    (before, after): (Option<&ApprovalEntry>, Option<&ApprovalEntry>),
    key: &[u8; 33],
) -> Result<(), redb::Error> {
    let [before, after] = [before, after].map(|entry| entry.map(place));
    if before == after {
        return Ok(());
    }
    let mut lists = transaction.open_table(tables.approvals())?;
    if let Some(before) = before {
        lists.remove(before)?;
    }
    if let Some(after) = after {
        lists.insert(after, key)?;
    }
    Ok(())
}

/// Opens the lists. `None` in a file whose organization has had no decision yet.
pub(super) fn lists(
    transaction: &ReadTransaction,
    tables: &Tables,
) -> Result<Option<ReadOnlyTable<(u8, u64), &'static [u8; 33]>>, redb::Error> {
    match transaction.open_table(tables.approvals()) {
        Ok(lists) => Ok(Some(lists)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns at most `limit` decisions of a list that were opened before an event, the newest first.
pub(super) fn before(
    database: &Database,
    tables: &Tables,
    list: ApprovalList,
    before: u64,
    limit: usize,
) -> Result<Vec<ApprovalEntry>, redb::Error> {
    let transaction = database.begin_read()?;
    let Some(lists) = lists(&transaction, tables)? else {
        return Ok(Vec::new());
    };
    let cells = transaction.open_table(tables.cells())?;
    let list = number(list);
    let mut found = Vec::new();
    for entry in lists.range((list, 0)..(list, before))?.rev().take(limit) {
        let (_, key) = entry?;
        let Some(cell) = cells.get(key.value())? else {
            continue;
        };
        if let Cell::Approval(entry) = parse(cell.value())? {
            found.push(*entry);
        }
    }
    Ok(found)
}

/// Returns a decision.
pub(super) fn one(
    database: &Database,
    tables: &Tables,
    key: ApprovalKey,
) -> Result<Option<ApprovalEntry>, redb::Error> {
    let cells = database.begin_read()?.open_table(tables.cells())?;
    let Some(cell) = cells.get(&CellKey::Approval(key).to_bytes())? else {
        return Ok(None);
    };
    match parse(cell.value())? {
        Cell::Approval(entry) => Ok(Some(*entry)),
        _ => Ok(None),
    }
}
