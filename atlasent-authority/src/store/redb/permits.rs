//! Listing permits, the newest first, and finding them by public id.

use std::sync::Arc;

use redb::{Database, ReadableDatabase};

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
    let mut permits = Vec::new();
    for entry in transaction
        .open_table(tables.permits())?
        .range(..before)?
        .rev()
    {
        if permits.len() == limit {
            break;
        }
        let (_, key) = entry?;
        let Some(cell) = cells.get(key.value())? else {
            continue;
        };
        if let (Some(key), Cell::Permit(entry)) = (key_in(key.value()), parse(cell.value())?) {
            permits.push((key, Arc::unwrap_or_clone(entry)));
        }
    }
    Ok(permits)
}

/// Returns the key of the permit with a public id, which determines the first half of the key.
pub(super) fn key_of(
    database: &Database,
    tables: &Tables,
    id: PermitId,
) -> Result<Option<PermitKey>, redb::Error> {
    let cells = database.begin_read()?.open_table(tables.cells())?;
    let (first, last) = id.keys();
    let (first, last) = (CellKey::Permit(first), CellKey::Permit(last));
    let mut found = cells.range::<&[u8; 33]>(&first.to_bytes()..=&last.to_bytes())?;
    let Some(entry) = found.next() else {
        return Ok(None);
    };
    Ok(key_in(entry?.0.value()))
}

/// Returns the permit's key from the key of its cell: all but the first byte, the kind.
fn key_in(cell: &[u8; 33]) -> Option<PermitKey> {
    let (_, key) = cell.split_first()?;
    Some(PermitKey::from_bytes(key.try_into().ok()?))
}
