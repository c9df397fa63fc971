//! Saving what the changes of a transaction leave.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redb::{ReadableTable, Table, WriteTransaction};

use super::known::KnownOrg;
use super::recent::{OpenRecent, Recent};
use super::tables::{
    FORMAT, StoredEvent, Tables, WITH_APPROVALS, WITH_RECENT, dropped, indexed, json, parse, stored,
};
use super::{approvals, index};
use crate::store::{Batch, Cell, CellKey, REMEMBERED};

/// Where the batch of an organization was saved.
pub(super) enum Saved {
    /// Among the recent changes.
    InRecent,
    /// In the tables of the organization, with its recent changes.
    InTables {
        /// The last event that is dropped from the beginning of the chain.
        dropped: u64,
        /// Whether there is background work now.
        has_chores: bool,
    },
}

impl Saved {
    pub(super) fn has_chores(&self) -> bool {
        matches!(
            self,
            Self::InTables {
                has_chores: true,
                ..
            }
        )
    }

    /// Returns the format that the file needs with this. Releases that know earlier formats alone
    /// must not open the file: they would not find all changes, or could not read cells that they
    /// have to forget.
    pub(super) fn format(&self, batch: &Batch) -> &'static str {
        let is_new = |(key, _): (CellKey, &Cell)| {
            matches!(
                key,
                CellKey::Approval(_)
                    | CellKey::Budget(_)
                    | CellKey::Questions(_)
                    | CellKey::Nonce(_)
                    | CellKey::Webhook(_)
            )
        };
        match self {
            Self::InRecent => WITH_RECENT,
            Self::InTables { .. } if batch.cells().any(is_new) => WITH_APPROVALS,
            Self::InTables { .. } => FORMAT,
        }
    }
}

/// Saves the events and cells of a batch.
pub(super) fn save(
    transaction: &WriteTransaction,
    recent: &mut OpenRecent<'_>,
    org: &KnownOrg,
    batch: &Batch,
    changes: usize,
) -> Result<Saved, redb::Error> {
    if recent.keep(org, batch)? {
        return Ok(Saved::InRecent);
    }
    let earlier = recent.of(org.id())?;
    let saved = save_in_tables(transaction, org, &earlier, batch, changes)?;
    drop(earlier);
    recent.remove(org.id())?;
    Ok(saved)
}

/// Saves the recent changes and a batch in the tables of the organization.
fn save_in_tables(
    transaction: &WriteTransaction,
    org: &KnownOrg,
    recent: &Recent<'_>,
    batch: &Batch,
    changes: usize,
) -> Result<Saved, redb::Error> {
    let tables = &org.tables;
    let mut of_cells = CellTables::open(transaction, tables)?;
    // A cell of the batch replaces the recent one.
    let mut cells: BTreeMap<_, _> = org.cells.iter().map(|(key, cell)| (*key, cell)).collect();
    cells.extend(batch.cells().map(|(key, cell)| (key.to_bytes(), cell)));
    for (key, cell) in cells {
        of_cells.keep(&key, cell)?;
    }
    // Twice as many as are added, so that a backlog shrinks.
    let most = 2 * (changes + recent.len()) + 16;
    of_cells.forget(batch.head().time, most)?;

    let of_batch = batch.events().iter();
    let of_batch = of_batch.map(|event| (event.sequence, stored(event)));
    let added: Vec<(u64, StoredEvent<'_>)> = recent.events().chain(of_batch).collect();
    let mut events = transaction.open_table(tables.events())?;
    for (sequence, event) in &added {
        events.insert(sequence, event)?;
    }
    let mut meta = transaction.open_table(tables.meta())?;
    // An unfinished index takes the events later, in their order.
    let is_indexed = indexed(&meta)?.is_none();
    if is_indexed {
        let added = added.iter();
        let added = added.map(|(sequence, (kind, actor, ..))| (*sequence, *kind, *actor));
        index::add(&mut transaction.open_table(tables.index())?, added)?;
    }
    let mut dropped = dropped(&meta)?;
    if let Some(through) = batch.dropped() {
        // From here on the events are invisible; the background work removes them. The number never
        // decreases, and never exceeds the head.
        dropped = dropped.max(through.min(batch.head().sequence));
        meta.insert("dropped", &*dropped.to_string())?;
    }
    meta.insert("head", &*json(batch.head())?)?;
    Ok(Saved::InTables {
        dropped,
        has_chores: !is_indexed || batch.dropped().is_some(),
    })
}

/// The tables of an organization's cells, open for writing.
struct CellTables<'t> {
    transaction: &'t WriteTransaction,
    tables: &'t Tables,
    cells: Table<'t, &'static [u8; 33], &'static [u8]>,
    expiry: Table<'t, (i64, &'static [u8; 33]), ()>,
    permits: Table<'t, u64, &'static [u8; 33]>,
}

impl<'t> CellTables<'t> {
    fn open(transaction: &'t WriteTransaction, tables: &'t Tables) -> Result<Self, redb::Error> {
        Ok(Self {
            transaction,
            tables,
            cells: transaction.open_table(tables.cells())?,
            expiry: transaction.open_table(tables.expiry())?,
            permits: transaction.open_table(tables.permits())?,
        })
    }

    /// Writes a cell.
    fn keep(&mut self, key: &[u8; 33], cell: &Cell) -> Result<(), redb::Error> {
        let at = cell.expires_at().as_microsecond();
        let former = self.cells.insert(key, json(cell)?.as_bytes())?;
        if let Some(approval) = cell.approval() {
            let former: Option<Cell> = former.map(|cell| parse(cell.value())).transpose()?;
            let before = former.as_ref().and_then(Cell::approval);
            approvals::file(self.transaction, self.tables, (before, Some(approval)), key)?;
            // A decision that is closed is over earlier than an open one.
            if let Some(former) = &former {
                self.expiry
                    .remove((former.expires_at().as_microsecond(), key))?;
            }
            self.expiry.insert((at, key), ())?;
        } else if former.is_none() {
            self.expiry.insert((at, key), ())?;
            if let Some(entry) = cell.permit() {
                self.permits.insert(entry.sequence, key)?;
            }
        }
        Ok(())
    }

    /// Deletes cells that expired more than [`REMEMBERED`] ago.
    fn forget(&mut self, time: Timestamp, most: usize) -> Result<(), redb::Error> {
        let Ok(over) = time.checked_sub(REMEMBERED) else {
            return Ok(());
        };
        let over = over.as_microsecond();
        for _ in 0..most {
            let Some((first, _)) = self.expiry.first()? else {
                break;
            };
            let (at, key) = first.value();
            let key = *key;
            drop(first);
            if at > over {
                break;
            }
            self.expiry.remove((at, &key))?;
            // A cell that was written again since then expires later.
            let again = self
                .cells
                .get(&key)?
                .map(|cell| parse(cell.value()))
                .transpose()?;
            let later = again.as_ref().map(|cell: &Cell| cell.expires_at());
            let later = later.map(Timestamp::as_microsecond);
            if let Some(later) = later.filter(|later| *later > over) {
                self.expiry.insert((later, &key), ())?;
                continue;
            }
            self.cells.remove(&key)?;
            if let Some(entry) = again.as_ref().and_then(Cell::permit) {
                self.permits.remove(entry.sequence)?;
            }
            let approval = again.as_ref().and_then(Cell::approval);
            approvals::file(self.transaction, self.tables, (approval, None), &key)?;
        }
        Ok(())
    }
}
