//! Listing permits, the newest first, and finding them by public id.

use std::cmp::Reverse;
use std::sync::Arc;

use redb::{Database, ReadableDatabase};

use super::recent::Recent;
use super::tables::{Tables, parse};
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::store::{Cell, CellKey};

/// Returns at most `limit` permits that were issued before an event, the newest first.
pub(super) fn before(
    database: &Database,
    tables: &Tables,
    before: u64,
    limit: usize,
) -> Result<Vec<(PermitKey, PermitEntry)>, redb::Error> {
    let transaction = database.begin_read()?;
    let cells = transaction.open_table(tables.cells())?;
    let recent = Recent::read(&transaction, tables.org())?;
    let recent_cells = recent.cells();
    let mut permits = Vec::new();
    // Those that were issued lately are not in the list of the tables.
    let issued_lately = recent.first().unwrap_or(before)..before;
    for (key, cell) in &recent_cells {
        permits.extend(
            permit(key, cell)?.filter(|(_, entry)| issued_lately.contains(&entry.sequence)),
        );
    }
    permits.sort_unstable_by_key(|(_, entry)| Reverse(entry.sequence));
    permits.truncate(limit);
    for entry in transaction
        .open_table(tables.permits())?
        .range(..before)?
        .rev()
    {
        if permits.len() == limit {
            break;
        }
        let (_, key) = entry?;
        let found = match recent_cells.get(key.value()) {
            Some(cell) => permit(key.value(), cell)?,
            None => match cells.get(key.value())? {
                Some(cell) => permit(key.value(), cell.value())?,
                None => None,
            },
        };
        permits.extend(found);
    }
    Ok(permits)
}

/// Returns the key of the permit with a public id, which determines the first half of the key.
pub(super) fn key_of(
    database: &Database,
    tables: &Tables,
    id: PermitId,
) -> Result<Option<PermitKey>, redb::Error> {
    let transaction = database.begin_read()?;
    let (first, last) = id.keys();
    let (first, last) = (CellKey::Permit(first), CellKey::Permit(last));
    let keys = first.to_bytes()..=last.to_bytes();
    let recent = Recent::read(&transaction, tables.org())?;
    if let Some(found) = recent.cells().into_keys().find(|key| keys.contains(*key)) {
        return Ok(key_in(found));
    }
    let cells = transaction.open_table(tables.cells())?;
    let mut found = cells.range::<&[u8; 33]>(keys.start()..=keys.end())?;
    let Some(entry) = found.next() else {
        return Ok(None);
    };
    Ok(key_in(entry?.0.value()))
}

/// Returns the permit in a cell, if it holds one.
fn permit(key: &[u8; 33], cell: &[u8]) -> Result<Option<(PermitKey, PermitEntry)>, redb::Error> {
    Ok(match (key_in(key), parse(cell)?) {
        (Some(key), Cell::Permit(entry)) => Some((key, Arc::unwrap_or_clone(entry))),
        _ => None,
    })
}

/// Returns the permit's key from the key of its cell: all but the first byte, the kind.
fn key_in(cell: &[u8; 33]) -> Option<PermitKey> {
    let (_, key) = cell.split_first()?;
    Some(PermitKey::from_bytes(key.try_into().ok()?))
}
