//! The recent changes of the organizations, which are not in their tables yet.
//!
//! A change touches a page or more of each table of its organization. In a transaction with changes
//! of many organizations, that is most of the work. So a small change is kept as one row of a table
//! that all organizations share. Once an organization has several of them, makes a large change, or
//! had made none for a while, its rows move into its own tables, in the transaction of that change:
//!
//! ```text
//! (organization, first event)    head, events, cells
//! ("acme",   7)                  7,    [7],    P: Issued
//! ("acme",   8)                  9,    [8, 9], P: Consumed, Q: Issued
//! ("globex", 2)                  2,    [2],    R: Issued
//!
//! acme's next change is large:   events 7, 8, 9 and its own, P: Consumed and Q move into tables
//! ```
//!
//! Reads therefore look here, too: for events after those of the tables, and for a cell before they
//! look into the tables.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use redb::{
    AccessGuard, Range, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition,
    TableError, WriteTransaction,
};

use super::known::KnownOrg;
use super::tables::{StoredEvent, head, json, parse, stored};
use crate::store::{Batch, OrgId};
use crate::trail::chain::ChainHead;

/// With more events, an organization moves its changes into its tables: so many that this is
/// seldom, and so few that a read hardly takes longer.
const MANY_EVENTS: u64 = 32;

/// How many organizations move their changes in one transaction because they have [`MANY_EVENTS`],
/// so that no transaction takes long where many have as many. The next ones move the others.
const MOVES: usize = 4;

/// With more events, an organization moves its changes in any case.
const MOST_EVENTS: u64 = 2 * MANY_EVENTS;

/// How many events a change has at most that is kept here.
const FEW_EVENTS: usize = 4;

/// How many bytes a row has at most.
const MOST_BYTES: usize = 16 * 1024;

/// The organization, and the sequence number of the first event.
type Place = (&'static str, u64);

/// The head after a change, its events, and its cells.
type Change<'a> = (&'a str, Vec<StoredEvent<'a>>, Vec<StoredCell<'a>>);

type StoredCell<'a> = (&'a [u8; 33], &'a [u8]);

/// The table of recent changes. The first one creates it.
pub(super) const RECENT: TableDefinition<'_, Place, Change<'static>> =
    TableDefinition::new("recent");

/// The recent changes of an organization.
pub(super) struct Recent<'t> {
    /// The oldest first, by their first events.
    rows: Vec<(u64, AccessGuard<'t, Change<'static>>)>,
}

impl<'t> Recent<'t> {
    /// Reads the recent changes of an organization at the moment of a transaction.
    pub(super) fn read(
        transaction: &ReadTransaction,
        org: &OrgId,
    ) -> Result<Recent<'static>, redb::Error> {
        match table(transaction)? {
            Some(table) => Recent::collect(table.range(places(org))?),
            None => Ok(Recent { rows: Vec::new() }),
        }
    }

    fn collect(rows: Range<'t, Place, Change<'static>>) -> Result<Self, redb::Error> {
        let rows = rows.map(|row| {
            let (place, change) = row?;
            let (_, first) = place.value();
            Ok((first, change))
        });
        let rows = rows.collect::<Result<_, redb::Error>>()?;
        Ok(Self { rows })
    }

    /// Returns how many recent changes there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the sequence number of the first event that is not in the tables. `None` if all
    /// events are.
    pub(super) fn first(&self) -> Option<u64> {
        self.rows.first().map(|(first, _)| *first)
    }

    /// Returns the head of the chain: after the last recent change, or that of the tables.
    pub(super) fn head(
        &self,
        meta: &impl ReadableTable<&'static str, &'static str>,
    ) -> Result<ChainHead, redb::Error> {
        let Some((_, change)) = self.rows.last() else {
            return head(meta);
        };
        let (head, ..) = change.value();
        parse(head.as_bytes())
    }

    /// Returns an event.
    pub(super) fn event(&self, sequence: u64) -> Option<StoredEvent<'_>> {
        let later = self.rows.partition_point(|(first, _)| *first <= sequence);
        let (first, change) = self.rows.get(later.checked_sub(1)?)?;
        let (_, events, _) = change.value();
        let place = usize::try_from(sequence - first).ok()?;
        events.get(place).copied()
    }

    /// Returns the events, the oldest first.
    pub(super) fn events(&self) -> impl Iterator<Item = (u64, StoredEvent<'_>)> {
        self.rows.iter().flat_map(|(first, change)| {
            let (_, events, _) = change.value();
            (*first..).zip(events)
        })
    }

    /// Returns the cells in the order of their keys, as the last change of each left it.
    pub(super) fn cells(&self) -> BTreeMap<&[u8; 33], &[u8]> {
        let changes = self.rows.iter().map(|(_, change)| change.value());
        changes.flat_map(|(_, _, cells)| cells).collect()
    }
}

/// Opens the table. `None` in a file that has had no recent change yet.
pub(super) fn table(
    transaction: &ReadTransaction,
) -> Result<Option<ReadOnlyTable<Place, Change<'static>>>, redb::Error> {
    match transaction.open_table(RECENT) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the places of an organization's changes.
fn places(org: &OrgId) -> RangeInclusive<(&str, u64)> {
    (org.as_str(), 0)..=(org.as_str(), u64::MAX)
}

/// The table of recent changes, open for writing in one transaction.
pub(super) struct OpenRecent<'txn> {
    table: Table<'txn, Place, Change<'static>>,
    /// How many organizations may move their changes yet because they have [`MANY_EVENTS`].
    moves: usize,
}

impl<'txn> OpenRecent<'txn> {
    pub(super) fn new(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            table: transaction.open_table(RECENT)?,
            moves: MOVES,
        })
    }

    /// Reads the recent changes of an organization.
    pub(super) fn of(&self, org: &OrgId) -> Result<Recent<'_>, redb::Error> {
        Recent::collect(self.table.range(places(org))?)
    }

    /// Keeps a small change. Returns `false` for one that belongs into the tables.
    pub(super) fn keep(&mut self, org: &KnownOrg, batch: &Batch) -> Result<bool, redb::Error> {
        let events = batch.events();
        let Some(first) = events.first().map(|event| event.sequence) else {
            return Ok(false);
        };
        // The lists of pending decisions are in the tables alone.
        let is_listed = batch.cells().any(|(_, cell)| cell.approval().is_some());
        if events.len() > FEW_EVENTS
            || is_listed
            || batch.dropped().is_some()
            || batch.is_after_pause()
        {
            return Ok(false);
        }
        let oldest = org.first_recent.unwrap_or(first);
        let with_others = batch.head().sequence.saturating_sub(oldest) + 1;
        if with_others > MOST_EVENTS {
            return Ok(false);
        }
        if with_others > MANY_EVENTS && self.moves > 0 {
            self.moves -= 1;
            return Ok(false);
        }
        let head = json(batch.head())?;
        let cells = batch
            .cells()
            .map(|(key, cell)| Ok((key.to_bytes(), json(cell)?)));
        let cells = cells.collect::<Result<Vec<_>, redb::Error>>()?;
        let of_events = events.iter().map(|event| event.payload.len());
        let of_cells = cells.iter().map(|(_, cell)| cell.len());
        if of_events.chain(of_cells).sum::<usize>() > MOST_BYTES {
            return Ok(false);
        }
        let events = events.iter().map(|event| stored(event)).collect();
        let cells = cells.iter().map(|(key, cell)| (key, cell.as_bytes()));
        let change = (&*head, events, cells.collect());
        self.table.insert((org.id().as_str(), first), change)?;
        Ok(true)
    }

    /// Removes the recent changes of an organization.
    pub(super) fn remove(&mut self, org: &OrgId) -> Result<(), redb::Error> {
        Ok(self.table.retain_in(places(org), |_, _| false)?)
    }
}
