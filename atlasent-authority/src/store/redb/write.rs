//! The writer's thread: it runs queued changes, and keeps them in one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use redb::{Database, ReadableTable};

use super::chore;
use super::file::File;
use super::index::{self, INDEX};
use super::tables::{CELLS, EVENTS, EXPIRY, META, PERMITS, dropped, head, indexed, json, parse};
use crate::store::group::{self, Job, Jobs};
use crate::store::{Batch, Cell, REMEMBERED, StoreError};

/// How many events one part of the background work covers at least: few enough that a change hardly
/// waits for it.
const FEW: usize = 128;

/// Runs until the queue is closed and empty.
pub(super) fn write(file: &File, mut jobs: Jobs) {
    // A process that was stopped may have left background work.
    let mut chores = true;
    loop {
        let next = match chores {
            true => jobs.try_next(),
            false => jobs.blocking_next(),
        };
        // Twice as many as are added, so that a backlog shrinks.
        let most = FEW + 2 * next.as_ref().map_or(0, Vec::len);
        match next {
            Some(mut next) => {
                let kept = || {
                    let database = file.database()?;
                    keep(file, &database, &mut next)
                };
                // The panic drops the transaction. The file is opened again, as after any other
                // error of it.
                let result = catch_unwind(AssertUnwindSafe(kept)).unwrap_or_else(|_| {
                    file.close();
                    Err(group::panicked())
                });
                chores |= matches!(result, Ok(true));
                group::answer(next, &result.map(drop));
            }
            None if jobs.is_closed() => return,
            None => {}
        }
        // A part after each transaction, so that the work also ends under constant load.
        if chores {
            chores = file.database().is_ok_and(|database| {
                let done = chore::some(&database, most).map_err(|error| file.failed(error));
                done.is_ok_and(|more| more)
            });
        }
    }
}

/// Runs the changes, and keeps them in one transaction. Returns whether that left background work.
pub(super) fn keep(file: &File, database: &Database, jobs: &mut [Job]) -> Result<bool, StoreError> {
    let failed = |error: redb::Error| file.failed(error);
    let transaction = database
        .begin_write()
        .map_err(|error| failed(error.into()))?;
    let mut batch = load(&transaction, jobs).map_err(failed)?;
    group::run(jobs, &mut batch)?;
    if batch.is_empty() {
        return transaction
            .abort()
            .map(|()| false)
            .map_err(|error| failed(error.into()));
    }
    let chores = save(&transaction, &batch, jobs.len()).map_err(failed)?;
    #[cfg(test)]
    faults::strike();
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(chores)
}

pub(super) fn load(
    transaction: &redb::WriteTransaction,
    jobs: &[Job],
) -> Result<Batch, redb::Error> {
    let head = head(&transaction.open_table(META)?)?;
    let table = transaction.open_table(CELLS)?;
    let mut cells = Vec::new();
    for key in group::reads(jobs) {
        if let Some(cell) = table.get(&key.to_bytes())? {
            cells.push((key, parse(cell.value())?));
        }
    }
    Ok(Batch::new(head, cells))
}

/// Saves the events and cells of a batch. Returns whether that left background work.
pub(super) fn save(
    transaction: &redb::WriteTransaction,
    batch: &Batch,
    changes: usize,
) -> Result<bool, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let mut cells = transaction.open_table(CELLS)?;
    let mut expiry = transaction.open_table(EXPIRY)?;
    let mut events = transaction.open_table(EVENTS)?;
    let mut permits = transaction.open_table(PERMITS)?;
    for (key, cell) in batch.cells() {
        let key = key.to_bytes();
        if cells.insert(&key, json(cell)?.as_bytes())?.is_none() {
            expiry.insert((cell.expires_at().as_microsecond(), &key), ())?;
            if let Some(entry) = cell.permit() {
                permits.insert(entry.sequence, &key)?;
            }
        }
    }
    for event in batch.events() {
        let actor = event.actor_id.as_deref().unwrap_or_default();
        let stored = (
            &*event.kind,
            actor,
            &*event.occurred_at,
            &*event.previous_hash,
            &*event.hash,
            &*event.payload,
        );
        events.insert(event.sequence, stored)?;
    }
    // An unfinished index takes the events later, in their order.
    let is_indexed = indexed(&meta)?.is_none();
    if is_indexed {
        let events = batch.events().iter().map(|event| {
            let actor = event.actor_id.as_deref().unwrap_or_default();
            (event.sequence, &*event.kind, actor)
        });
        index::add(&mut transaction.open_table(INDEX)?, events)?;
    }
    if let Some(through) = batch.dropped() {
        // From here on the events are invisible; the background work removes them. The number never
        // decreases, and never exceeds the head.
        let through = dropped(&meta)?.max(through.min(batch.head().sequence));
        meta.insert("dropped", &*through.to_string())?;
    }
    meta.insert("head", &*json(batch.head())?)?;
    // Twice as many as are added, so that a backlog shrinks.
    let (time, most) = (batch.head().time, 2 * changes + 16);
    forget(&mut cells, &mut expiry, &mut permits, time, most)?;
    Ok(!is_indexed || batch.dropped().is_some())
}

/// Deletes cells that expired more than [`REMEMBERED`] ago.
pub(super) fn forget(
    cells: &mut redb::Table<'_, &[u8; 33], &[u8]>,
    expiry: &mut redb::Table<'_, (i64, &[u8; 33]), ()>,
    permits: &mut redb::Table<'_, u64, &[u8; 33]>,
    time: Timestamp,
    most: usize,
) -> Result<(), redb::Error> {
    let Ok(over) = time.checked_sub(REMEMBERED) else {
        return Ok(());
    };
    let over = over.as_microsecond();
    for _ in 0..most {
        let Some((first, _)) = expiry.first()? else {
            break;
        };
        let (at, key) = first.value();
        let key = *key;
        drop(first);
        if at > over {
            break;
        }
        expiry.remove((at, &key))?;
        // A cell that was written again since then expires later.
        let again = cells
            .get(&key)?
            .map(|cell| parse(cell.value()))
            .transpose()?;
        let later = again.as_ref().map(|cell: &Cell| cell.expires_at());
        let later = later.map(Timestamp::as_microsecond);
        if let Some(later) = later.filter(|later| *later > over) {
            expiry.insert((later, &key), ())?;
            continue;
        }
        cells.remove(&key)?;
        if let Some(entry) = again.as_ref().and_then(Cell::permit) {
            permits.remove(entry.sequence)?;
        }
    }
    Ok(())
}

/// Panics of the writer that tests inject.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;

    thread_local! {
        static ARMED: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes the next change of the writer on this thread panic, with its transaction open.
    pub(in crate::store::redb) fn arm() {
        ARMED.set(true);
    }

    pub(super) fn strike() {
        if ARMED.replace(false) {
            panic!("a fault that a test injected");
        }
    }
}
