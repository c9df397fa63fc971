//! Background work of the writer, a few events at a time: indexing a file that has no index yet,
//! and removing dropped events.
//!
//! The file records how far each has come, so a process may stop at any point.

use redb::{Database, Durability, ReadableTable};

use super::index;
use super::recovery::FastRecovery;
use super::tables::{Tables, dropped, head, indexed};

/// Does a part of an organization's background work, for at most `most` events. Returns whether
/// more may be left.
pub(super) fn some(
    database: &Database,
    recovery: &FastRecovery,
    tables: &Tables,
    most: usize,
) -> Result<bool, redb::Error> {
    let mut transaction = database.begin_write()?;
    recovery.apply_to(&mut transaction);
    let left = {
        let mut meta = transaction.open_table(tables.meta())?;
        match indexed(&meta)? {
            Some(through) => extend(&transaction, tables, &mut meta, through, most)?,
            None => sweep(&transaction, tables, dropped(&meta)?, most)?,
        }
    };
    match left {
        WorkLeft::Nothing => transaction.abort()?,
        WorkLeft::More => {
            // The next durable transaction makes this one durable, too. If it is lost, the work is
            // done again.
            transaction.set_durability(Durability::None)?;
            transaction.commit()?;
        }
        WorkLeft::Last => transaction.commit()?,
    }
    Ok(matches!(left, WorkLeft::More))
}

/// How much background work is left.
enum WorkLeft {
    /// More may be left.
    More,
    /// This was the last part.
    Last,
    /// There was nothing to do.
    Nothing,
}

/// Adds the next events to an index that is being made.
fn extend(
    transaction: &redb::WriteTransaction,
    tables: &Tables,
    meta: &mut redb::Table<'_, &'static str, &'static str>,
    through: u64,
    most: usize,
) -> Result<WorkLeft, redb::Error> {
    let head = head(meta)?.sequence;
    let through = through.max(dropped(meta)?);
    let events = transaction.open_table(tables.events())?;
    let mut some = Vec::new();
    for entry in events.range(through.saturating_add(1)..)?.take(most) {
        let (sequence, event) = entry?;
        let (kind, actor, ..) = event.value();
        some.push((sequence.value(), kind.to_owned(), actor.to_owned()));
    }
    let through = some.last().map_or(head, |(sequence, ..)| *sequence);
    let some = some
        .iter()
        .map(|(sequence, kind, actor)| (*sequence, &**kind, &**actor));
    index::add(&mut transaction.open_table(tables.index())?, some)?;
    if through >= head {
        meta.remove("indexed")?;
    } else {
        meta.insert("indexed", &*through.to_string())?;
    }
    // Dropped events may be left to remove.
    Ok(WorkLeft::More)
}

/// Removes events that were dropped.
fn sweep(
    transaction: &redb::WriteTransaction,
    tables: &Tables,
    dropped: u64,
    most: usize,
) -> Result<WorkLeft, redb::Error> {
    let mut events = transaction.open_table(tables.events())?;
    let mut some = Vec::new();
    for entry in events.range(..=dropped)?.take(most) {
        let (sequence, event) = entry?;
        let (kind, actor, ..) = event.value();
        some.push((sequence.value(), kind.to_owned(), actor.to_owned()));
    }
    let mut index = transaction.open_table(tables.index())?;
    for (sequence, kind, actor) in &some {
        index::remove(&mut index, (*sequence, kind, actor))?;
        events.remove(sequence)?;
    }
    Ok(match some.len() {
        0 => WorkLeft::Nothing,
        all if all == most => WorkLeft::More,
        _ => WorkLeft::Last,
    })
}
