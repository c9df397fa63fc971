//! The writer's thread: it runs queued changes, and keeps them in one transaction.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::approvals;
use super::chore;
use super::file::File;
use super::index;
use super::tables::{
    Tables, WITH_APPROVALS, dropped, head, indexed, json, organizations, parse, require_format,
};
use crate::store::group::{self, Jobs, OrgJobs, Round, Runs};
use crate::store::{Batch, Cell, CellKey, OrgId, REMEMBERED, StoreError};

/// How many events one part of the background work covers at least: few enough that a change hardly
/// waits for it.
const FEW: usize = 128;

/// Runs until the queues are closed and empty.
pub(super) fn write(file: &File, jobs: &Jobs) {
    // A process that was stopped may have left background work.
    let mut chores = Chores::new(file);
    loop {
        let next = match chores.is_empty() {
            false => jobs.try_next(),
            true => jobs.blocking_next(),
        };
        // Twice as many as are added, so that a backlog shrinks.
        let most = FEW + 2 * next.as_ref().map_or(0, Round::len);
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
                chores.extend(result.iter().flatten().cloned());
                next.answer(&result.map(drop));
            }
            None if jobs.is_closed() => return,
            None => {}
        }
        // A part after each transaction, so that the work also ends under constant load.
        chores.work(file, most);
    }
}

/// The organizations with background work, in the order of their turns.
struct Chores(VecDeque<OrgId>);

impl Chores {
    /// All organizations of a file may have work.
    fn new(file: &File) -> Self {
        let all = file.database().and_then(|database| {
            let all = || organizations(&database.begin_read()?);
            all().map_err(|error| file.failed(error))
        });
        Self(all.unwrap_or_else(|_| vec![OrgId::local()]).into())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn extend(&mut self, orgs: impl Iterator<Item = OrgId>) {
        for org in orgs {
            if !self.0.contains(&org) {
                self.0.push_back(org);
            }
        }
    }

    /// Does a part of the work of the next organization.
    fn work(&mut self, file: &File, most: usize) {
        let Some(org) = self.0.pop_front() else {
            return;
        };
        let is_more = file.database().is_ok_and(|database| {
            let done = chore::some(&database, &file.recovery, &Tables::new(&org), most);
            done.map_err(|error| file.failed(error))
                .is_ok_and(|more| more)
        });
        if is_more {
            self.0.push_back(org);
        }
    }
}

/// Runs the changes, and keeps them in one transaction. Changes of an organization that cannot be
/// run or saved are answered here, and do not affect those of another. Returns the organizations
/// that have background work now.
fn keep(file: &File, database: &Database, round: &mut Round) -> Result<Vec<OrgId>, StoreError> {
    let failed = |error: redb::Error| file.failed(error);
    let mut transaction = begin(file, database)?;
    let mut left = Vec::new();
    for jobs in round.orgs() {
        match run(&transaction, jobs) {
            Ok(Ok(batch)) if batch.is_empty() => {}
            Ok(Ok(batch)) => left.push((jobs, batch)),
            Ok(Err(error)) => jobs.answer(&Err(error)),
            Err(error @ redb::Error::Corrupted(_)) => jobs.answer(&Err(failed(error))),
            Err(error) => return Err(failed(error)),
        }
    }
    while !left.is_empty() {
        match save_all(&transaction, &left) {
            Ok(chores) => {
                #[cfg(test)]
                faults::strike();
                transaction.commit().map_err(|error| failed(error.into()))?;
                return Ok(chores);
            }
            // A part of the batch may be in the transaction, which therefore begins anew with the
            // other batches. Nothing else writes, so these still fit.
            Err((place, error @ redb::Error::Corrupted(_))) => {
                transaction.abort().map_err(|error| failed(error.into()))?;
                let (jobs, _) = left.remove(place);
                jobs.answer(&Err(failed(error)));
                transaction = begin(file, database)?;
            }
            Err((_, error)) => return Err(failed(error)),
        }
    }
    transaction.abort().map_err(|error| failed(error.into()))?;
    Ok(Vec::new())
}

fn begin(file: &File, database: &Database) -> Result<redb::WriteTransaction, StoreError> {
    let transaction = database.begin_write();
    let mut transaction = transaction.map_err(|error| file.failed(error.into()))?;
    file.recovery.apply_to(&mut transaction);
    Ok(transaction)
}

/// Runs the changes of one organization. The outer error is one of the file, or that an entry of
/// the organization cannot be read.
fn run(
    transaction: &redb::WriteTransaction,
    jobs: &mut OrgJobs,
) -> Result<Result<Batch, StoreError>, redb::Error> {
    let tables = Tables::new(&jobs.org);
    if !tables.exist_for(transaction)? {
        return Ok(Err(StoreError::UnknownOrganization(jobs.org.clone())));
    }
    let mut batch = load(transaction, &tables, jobs)?;
    Ok(jobs.run(&mut batch, Runs::Once).map(|()| batch))
}

/// Saves the batches. Returns the organizations that have background work now. An error comes with
/// the place of its batch.
fn save_all(
    transaction: &redb::WriteTransaction,
    batches: &[(&mut OrgJobs, Batch)],
) -> Result<Vec<OrgId>, (usize, redb::Error)> {
    let mut chores = Vec::new();
    for (place, (jobs, batch)) in batches.iter().enumerate() {
        let saved = save(transaction, &Tables::new(&jobs.org), batch, jobs.len());
        if saved.map_err(|error| (place, error))? {
            chores.push(jobs.org.clone());
        }
    }
    Ok(chores)
}

fn load(
    transaction: &redb::WriteTransaction,
    tables: &Tables,
    jobs: &OrgJobs,
) -> Result<Batch, redb::Error> {
    let meta = transaction.open_table(tables.meta())?;
    let (head, dropped) = (head(&meta)?, dropped(&meta)?);
    let table = transaction.open_table(tables.cells())?;
    let mut cells = Vec::new();
    for key in jobs.reads() {
        if let Some(cell) = table.get(&key.to_bytes())? {
            cells.push((key, parse(cell.value())?));
        }
    }
    Ok(Batch::new(head, cells).after_dropped(dropped))
}

/// Saves the events and cells of a batch. Returns whether that left background work.
fn save(
    transaction: &redb::WriteTransaction,
    tables: &Tables,
    batch: &Batch,
    changes: usize,
) -> Result<bool, redb::Error> {
    let mut meta = transaction.open_table(tables.meta())?;
    let mut cells = transaction.open_table(tables.cells())?;
    let mut expiry = transaction.open_table(tables.expiry())?;
    let mut events = transaction.open_table(tables.events())?;
    let mut permits = transaction.open_table(tables.permits())?;
    let mut is_new_format = false;
    for (key, cell) in batch.cells() {
        let is_approval = matches!(key, CellKey::Approval(_));
        is_new_format |= is_approval
            || matches!(
                key,
                CellKey::Budget(_)
                    | CellKey::Questions(_)
                    | CellKey::Nonce(_)
                    | CellKey::Webhook(_)
            );
        let key = key.to_bytes();
        let former = cells.insert(&key, json(cell)?.as_bytes())?;
        let is_new = former.is_none();
        if is_approval {
            let former: Option<Cell> = former.map(|cell| parse(cell.value())).transpose()?;
            let before = former.as_ref().and_then(Cell::approval);
            approvals::file(transaction, tables, (before, cell.approval()), &key)?;
            // A decision that is closed is over earlier than an open one.
            if let Some(former) = former {
                expiry.remove((former.expires_at().as_microsecond(), &key))?;
                expiry.insert((cell.expires_at().as_microsecond(), &key), ())?;
            }
        }
        if is_new {
            expiry.insert((cell.expires_at().as_microsecond(), &key), ())?;
            if let Some(entry) = cell.permit() {
                permits.insert(entry.sequence, &key)?;
            }
        }
    }
    if is_new_format {
        // Releases that do not know these cells must not open the file: they could not read the
        // cells that they forget.
        match tables.org().is_local() {
            true => require_format(&mut meta, WITH_APPROVALS)?,
            false => {
                let local = Tables::new(&OrgId::local());
                require_format(&mut transaction.open_table(local.meta())?, WITH_APPROVALS)?;
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
        index::add(&mut transaction.open_table(tables.index())?, events)?;
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
    forget(
        (transaction, tables),
        OpenTables {
            cells: &mut cells,
            expiry: &mut expiry,
            permits: &mut permits,
        },
        time,
        most,
    )?;
    Ok(!is_indexed || batch.dropped().is_some())
}

/// The tables that hold what expires, open for writing.
struct OpenTables<'t, 'txn> {
    cells: &'t mut redb::Table<'txn, &'static [u8; 33], &'static [u8]>,
    expiry: &'t mut redb::Table<'txn, (i64, &'static [u8; 33]), ()>,
    permits: &'t mut redb::Table<'txn, u64, &'static [u8; 33]>,
}

/// Deletes cells that expired more than [`REMEMBERED`] ago.
fn forget(
    (transaction, tables): (&redb::WriteTransaction, &Tables),
    OpenTables {
        cells,
        expiry,
        permits,
    }: OpenTables<'_, '_>,
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
        let approval = again.as_ref().and_then(Cell::approval);
        approvals::file(transaction, tables, (approval, None), &key)?;
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
