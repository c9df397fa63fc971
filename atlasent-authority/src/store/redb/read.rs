//! Reading events and the status, in turns that are short enough for the next reader not to wait
//! long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata};

use super::index;
use super::recent::Recent;
use super::tables::{StoredEvent, Tables, dropped, head, indexed, passes, sealed};
use crate::store::StoreStatus;
use crate::trail::EventFilter;
use crate::trail::filter::EventCollector;

/// How many events one turn reads at most.
const TURN: usize = 1_000;

/// Returns the head of the chain and the number of cells.
pub(super) fn status(database: &Database, tables: &Tables) -> Result<StoreStatus, redb::Error> {
    let transaction = database.begin_read()?;
    let recent = Recent::read(&transaction, tables.org())?;
    status_of(&transaction, tables, &recent)
}

/// Returns the status as of a transaction, with the recent changes.
pub(super) fn status_of(
    transaction: &ReadTransaction,
    tables: &Tables,
    recent: &Recent<'_>,
) -> Result<StoreStatus, redb::Error> {
    let meta = transaction.open_table(tables.meta())?;
    let table = transaction.open_table(tables.cells())?;
    let mut cells = table.len()?;
    for key in recent.cells().into_keys() {
        cells += u64::from(table.get(key)?.is_none());
    }
    Ok(StoreStatus {
        head: recent.head(&meta)?,
        dropped: dropped(&meta)?,
        cells,
    })
}

/// Adds the events above `after` that pass. Returns where the next turn starts, if the reader needs
/// one.
pub(super) fn events(
    database: &Database,
    tables: &Tables,
    mut after: u64,
    found: &mut EventCollector,
    filter: &EventFilter,
) -> Result<Option<u64>, redb::Error> {
    let snapshot = Snapshot::new(database, tables)?;
    let (first, last) = snapshot.range(after, filter)?;
    let known = snapshot.indexed.min(last);
    let mut left = TURN;
    if !filter.is_contiguous() && first <= known {
        let places = snapshot.places(filter, (first, known))?;
        for place in places {
            let place = place?;
            if left == 0 || found.is_full() {
                return Ok(Some(after).filter(|_| !found.is_full()));
            }
            left -= 1;
            after = place;
            if let Some(event) = snapshot.events.get(place)? {
                found.push(Arc::new(sealed(place, event.value())));
            }
        }
        after = known;
    }
    let rest = first.max(after.saturating_add(1));
    if rest > last {
        return Ok(None);
    }
    // Returns how the turn ends, once it does.
    let mut next = |sequence, event: StoredEvent<'_>| {
        if found.is_full() {
            return Some(None);
        }
        if left == 0 {
            return Some(Some(after));
        }
        left -= 1;
        if passes(filter, sequence, &event) {
            found.push(Arc::new(sealed(sequence, event)));
        }
        after = sequence;
        None
    };
    for entry in snapshot.events.range(rest..=last)? {
        let (sequence, event) = entry?;
        if let Some(end) = next(sequence.value(), event.value()) {
            return Ok(end);
        }
    }
    for (sequence, event) in snapshot.recent_in(rest..=last) {
        if let Some(end) = next(sequence, event) {
            return Ok(end);
        }
    }
    Ok(None)
}

/// Counts the events above `after` that pass. Returns where the next turn starts, if the reader
/// needs one.
pub(super) fn count(
    database: &Database,
    tables: &Tables,
    after: u64,
    filter: &EventFilter,
) -> Result<(u64, Option<u64>), redb::Error> {
    let snapshot = Snapshot::new(database, tables)?;
    let (first, last) = snapshot.range(after, filter)?;
    if first > last {
        return Ok((0, None));
    }
    if filter.is_contiguous() {
        return Ok((last - first + 1, None));
    }
    let known = snapshot.indexed.min(last);
    let mut count = 0;
    for key in filter.keys() {
        count += index::count(&snapshot.index, key, (first, known))?;
    }
    let rest = first.max(known.saturating_add(1));
    if rest > last {
        return Ok((count, None));
    }
    let mut left = TURN;
    for entry in snapshot.events.range(rest..=last)? {
        let (sequence, event) = entry?;
        let sequence = sequence.value();
        count += u64::from(passes(filter, sequence, &event.value()));
        left -= 1;
        if left == 0 && sequence < last {
            return Ok((count, Some(sequence)));
        }
    }
    for (sequence, event) in snapshot.recent_in(rest..=last) {
        count += u64::from(passes(filter, sequence, &event));
    }
    Ok((count, None))
}

/// The events as they are at one moment: those of the tables, and the recent ones after them.
struct Snapshot {
    events: redb::ReadOnlyTable<u64, StoredEvent<'static>>,
    index: redb::ReadOnlyTable<(&'static str, &'static str, u64), u64>,
    recent: Recent<'static>,
    head: u64,
    dropped: u64,
    /// The sequence number that the index reaches to.
    indexed: u64,
}

impl Snapshot {
    fn new(database: &Database, tables: &Tables) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(tables.meta())?;
        let recent = Recent::read(&transaction, tables.org())?;
        Ok(Self {
            events: transaction.open_table(tables.events())?,
            index: transaction.open_table(tables.index())?,
            head: recent.head(&meta)?.sequence,
            recent,
            dropped: dropped(&meta)?,
            indexed: match indexed(&meta)? {
                Some(indexed) => indexed,
                None => head(&meta)?.sequence,
            },
        })
    }

    /// Returns the recent events in a range.
    fn recent_in(
        &self,
        range: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (u64, StoredEvent<'_>)> {
        let recent = self.recent.events();
        recent.filter(move |(sequence, _)| range.contains(sequence))
    }

    /// Returns the first and the last sequence number that `after` and the filter's times leave.
    /// The chain has no gaps, and its time never runs backwards.
    fn range(&self, after: u64, filter: &EventFilter) -> Result<(u64, u64), redb::Error> {
        let mut first = after.max(self.dropped).saturating_add(1);
        let mut last = self.head.min(filter.through.unwrap_or(u64::MAX));
        if let Some(since) = &filter.since {
            first = self.bound(first, last, |time| time < &**since)?;
        }
        if let Some(until) = &filter.until {
            last = self.bound(first, last, |time| time <= &**until)?;
            last = last.saturating_sub(1);
        }
        Ok((first, last))
    }

    /// Returns the sequence number of the first event, from `first` to `last`, whose time is not
    /// `before`, or `last` + 1 if every event is.
    fn bound(
        &self,
        mut first: u64,
        last: u64,
        before: impl Fn(&str) -> bool,
    ) -> Result<u64, redb::Error> {
        let mut end = last.saturating_add(1).max(first);
        while first < end {
            let middle = first + (end - first) / 2;
            let is_before = if let Some((_, _, time, ..)) = self.recent.event(middle) {
                before(time)
            } else if let Some(event) = self.events.get(middle)? {
                before(event.value().2)
            } else {
                return Err(redb::Error::Corrupted(format!(
                    "the chain has no event {middle}"
                )));
            };
            match is_before {
                true => first = middle + 1,
                false => end = middle,
            }
        }
        Ok(first)
    }

    /// Returns the sequence numbers, in their order, of the events in the range that have one of
    /// the types and the agent.
    fn places(
        &self,
        filter: &EventFilter,
        (first, last): (u64, u64),
    ) -> Result<impl Iterator<Item = Result<u64, redb::Error>>, redb::Error> {
        let mut lists = Vec::new();
        let mut next = BinaryHeap::new();
        for (kind, actor) in filter.keys() {
            let list = self
                .index
                .range((kind, actor, first)..=(kind, actor, last))?;
            let mut list = list.map(|entry| Ok(entry?.0.value().2));
            if let Some(place) = list.next().transpose()? {
                next.push(Reverse((place, lists.len())));
                lists.push(list);
            }
        }
        Ok(std::iter::from_fn(move || {
            let Reverse((place, of)) = next.pop()?;
            match lists.get_mut(of).and_then(Iterator::next) {
                Some(Ok(following)) => next.push(Reverse((following, of))),
                Some(Err(error)) => return Some(Err(error)),
                None => {}
            }
            Some(Ok(place))
        }))
    }
}
