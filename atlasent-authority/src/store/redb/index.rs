//! The index of the events by type and agent, which finds and counts events without reading the
//! others.
//!
//! Each event has an entry under its type, and if it has an agent, two more: under the agent, and
//! under both. An empty text stands for any type or agent. The value of an entry is its ordinal
//! among the entries of the same type and agent:
//!
//! ```text
//! (type,            agent, sequence)   ordinal
//! ("evaluate.deny", "",    4)          1
//! ("evaluate.deny", "",    9)          2
//! ("",              "bot", 9)          1
//! ("evaluate.deny", "bot", 9)          1
//! ```
//!
//! Counting the denials of events 1 to 9 reads two entries, however many lie between them: the last
//! entry of `("evaluate.deny", "")` up to 9 has the ordinal 2, the first one from 1 on has the
//! ordinal 1, and 2 - 1 + 1 = 2. Dropping events 1 to 4 removes the first row and leaves the others
//! as they are, so the same count is 2 - 2 + 1 = 1. Adding event 12, a denial for `bot`, reads the
//! last ordinal of each of its three keys (2, 1 and 1) and writes 3, 2 and 2.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use redb::{ReadableTable, Table};

type IndexTable<'a> = Table<'a, (&'static str, &'static str, u64), u64>;

/// The indexed fields of an event: sequence number, type, and agent or an empty text.
pub(super) type Indexed<'a> = (u64, &'a str, &'a str);

/// Returns the keys that an event is filed under.
pub(super) fn keys<'a>(kind: &'a str, actor: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let of_actor = (!actor.is_empty()).then_some([("", actor), (kind, actor)]);
    std::iter::once((kind, "")).chain(of_actor.into_iter().flatten())
}

/// Adds events, in their order, behind the indexed ones.
pub(super) fn add<'a>(
    index: &mut IndexTable<'_>,
    events: impl Iterator<Item = Indexed<'a>>,
) -> Result<(), redb::Error> {
    let mut ordinals = HashMap::new();
    for (sequence, kind, actor) in events {
        for (kind, actor) in keys(kind, actor) {
            let ordinal = match ordinals.entry((kind, actor)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(last_ordinal(index, kind, actor)?),
            };
            *ordinal += 1;
            index.insert((kind, actor, sequence), *ordinal)?;
        }
    }
    Ok(())
}

/// Removes the entries of an event.
pub(super) fn remove(
    index: &mut IndexTable<'_>,
    (sequence, kind, actor): Indexed<'_>,
) -> Result<(), redb::Error> {
    for (kind, actor) in keys(kind, actor) {
        index.remove((kind, actor, sequence))?;
    }
    Ok(())
}

/// Counts the entries of a type and agent in a range of sequence numbers.
pub(super) fn count(
    index: &impl ReadableTable<(&'static str, &'static str, u64), u64>,
    (kind, actor): (&str, &str),
    (first, last): (u64, u64),
) -> Result<u64, redb::Error> {
    if first > last {
        return Ok(0);
    }
    let mut entries = index.range((kind, actor, first)..=(kind, actor, last))?;
    let Some(first) = entries.next() else {
        return Ok(0);
    };
    let first = first?.1.value();
    let last = match entries.next_back() {
        Some(last) => last?.1.value(),
        None => first,
    };
    Ok(last.saturating_sub(first) + 1)
}

fn last_ordinal(
    index: &impl ReadableTable<(&'static str, &'static str, u64), u64>,
    kind: &str,
    actor: &str,
) -> Result<u64, redb::Error> {
    let mut entries = index.range((kind, actor, 0)..=(kind, actor, u64::MAX))?;
    let last = entries.next_back().transpose()?;
    Ok(last.map_or(0, |(_, ordinal)| ordinal.value()))
}
