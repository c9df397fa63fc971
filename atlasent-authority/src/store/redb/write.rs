//! The writer's thread: it runs the changes that wait, and keeps them in one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use redb::{Database, ReadableTable};

use super::file::File;
use super::tables::{CELLS, EVENTS, EXPIRY, META, dropped, head, json, parse};
use crate::store::group::{self, Job, Jobs};
use crate::store::{Batch, Cell, REMEMBERED, StoreError};

/// The writer's thread.
pub(super) fn write(file: &File, mut jobs: Jobs) {
    while let Some(mut jobs) = jobs.blocking_next() {
        let kept = || {
            let database = file.database()?;
            keep(file, &database, &mut jobs)
        };
        // The transaction is dropped with the panic. The file is opened anew, as after any other failure of it.
        let result = catch_unwind(AssertUnwindSafe(kept)).unwrap_or_else(|_| {
            file.close();
            Err(group::panicked())
        });
        group::answer(jobs, &result);
    }
}

/// Runs the changes, and keeps what they leave in one transaction.
pub(super) fn keep(file: &File, database: &Database, jobs: &mut [Job]) -> Result<(), StoreError> {
    let failed = |error: redb::Error| file.failed(error);
    let transaction = database
        .begin_write()
        .map_err(|error| failed(error.into()))?;
    let mut batch = load(&transaction, jobs).map_err(failed)?;
    group::run(jobs, &mut batch)?;
    if batch.is_empty() {
        return transaction.abort().map_err(|error| failed(error.into()));
    }
    save(&transaction, &batch, jobs.len()).map_err(failed)?;
    #[cfg(test)]
    faults::strike();
    transaction.commit().map_err(|error| failed(error.into()))
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

pub(super) fn save(
    transaction: &redb::WriteTransaction,
    batch: &Batch,
    changes: usize,
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let mut cells = transaction.open_table(CELLS)?;
    let mut expiry = transaction.open_table(EXPIRY)?;
    let mut events = transaction.open_table(EVENTS)?;
    for (key, cell) in batch.cells() {
        let key = key.to_bytes();
        if cells.insert(&key, json(cell)?.as_bytes())?.is_none() {
            expiry.insert((cell.expires_at().as_microsecond(), &key), ())?;
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
    if let Some(through) = batch.dropped() {
        events.retain_in(..=through, |_, _| false)?;
        // What is gone stays gone, and nothing goes that is not there yet.
        let through = dropped(&meta)?.max(through.min(batch.head().sequence));
        meta.insert("dropped", &*through.to_string())?;
    }
    meta.insert("head", &*json(batch.head())?)?;
    // Twice as many as come in, so that whatever has piled up shrinks.
    forget(&mut cells, &mut expiry, batch.head().time, 2 * changes + 16)
}

/// Forgets the cells whose time is over for long.
pub(super) fn forget(
    cells: &mut redb::Table<'_, &[u8; 33], &[u8]>,
    expiry: &mut redb::Table<'_, (i64, &[u8; 33]), ()>,
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
        // A cell that was kept anew since then is over later.
        let again = cells
            .get(&key)?
            .map(|cell| parse(cell.value()))
            .transpose()?;
        let later = again.map(|cell: Cell| cell.expires_at().as_microsecond());
        match later.filter(|later| *later > over) {
            Some(later) => drop(expiry.insert((later, &key), ())?),
            None => drop(cells.remove(&key)?),
        }
    }
    Ok(())
}

/// Panics of the writer that tests ask for.
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
