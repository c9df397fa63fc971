//! The writer's thread: it runs queued changes, and keeps them in one transaction.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Database, ReadableDatabase};

use super::chore;
use super::file::File;
use super::known::{Known, KnownOrg};
use super::recent::OpenRecent;
use super::save::{Saved, save};
use super::tables::{FORMAT, Tables, organizations, require_format};
use crate::store::group::{self, Jobs, OrgJobs, Round, Runs};
use crate::store::{Batch, OrgId, StoreError};

/// How many events one part of the background work covers at least: few enough that a change hardly
/// waits for it.
const FEW: usize = 128;

/// Runs until the queues are closed and empty.
pub(super) fn write(file: &File, jobs: &Jobs) {
    // A process that was stopped may have left background work.
    let mut chores = Chores::new(file);
    let mut known = Known::default();
    loop {
        let next = match chores.is_empty() {
            false => jobs.try_next(),
            true => jobs.blocking_next(),
        };
        // Twice as many as are added, so that a backlog shrinks.
        let most = FEW + 2 * next.as_ref().map_or(0, Round::len);
        match next {
            Some(mut next) => {
                let kept = || keep(file, &mut known, &mut next);
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
fn keep(file: &File, known: &mut Known, round: &mut Round) -> Result<Vec<OrgId>, StoreError> {
    let failed = |error: redb::Error| file.failed(error);
    let database = file.database()?;
    known.prepare_for(&database);
    let mut transaction = begin(file, &database)?;
    let mut left = Vec::new();
    for jobs in round.orgs() {
        match run(&transaction, known, jobs) {
            Ok(Ok((org, batch))) if batch.is_empty() => known.put(org),
            Ok(Ok((org, batch))) => left.push(Changes { jobs, org, batch }),
            Ok(Err(error)) => jobs.answer(&Err(error)),
            Err(error @ redb::Error::Corrupted(_)) => jobs.answer(&Err(failed(error))),
            Err(error) => return Err(failed(error)),
        }
    }
    while !left.is_empty() {
        match save_all(&transaction, &left) {
            Ok(saved) => {
                #[cfg(test)]
                faults::strike();
                transaction.commit().map_err(|error| failed(error.into()))?;
                let mut chores = Vec::new();
                for (Changes { mut org, batch, .. }, saved) in left.into_iter().zip(saved) {
                    if saved.has_chores() {
                        chores.push(org.id().clone());
                    }
                    org.update(batch, saved);
                    known.put(org);
                }
                return Ok(chores);
            }
            // A part of the batch may be in the transaction, which therefore begins anew with the
            // other batches. Nothing else writes, so these still fit.
            Err((place, error @ redb::Error::Corrupted(_))) => {
                transaction.abort().map_err(|error| failed(error.into()))?;
                left.remove(place).jobs.answer(&Err(failed(error)));
                transaction = begin(file, &database)?;
            }
            Err((_, error)) => return Err(failed(error)),
        }
    }
    transaction.abort().map_err(|error| failed(error.into()))?;
    Ok(Vec::new())
}

/// What the changes of an organization leave, to be saved.
struct Changes<'r> {
    jobs: &'r mut OrgJobs,
    org: KnownOrg,
    batch: Batch,
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
    known: &mut Known,
    jobs: &mut OrgJobs,
) -> Result<Result<(KnownOrg, Batch), StoreError>, redb::Error> {
    let Some(org) = known.take(transaction, &jobs.org)? else {
        return Ok(Err(StoreError::UnknownOrganization(jobs.org.clone())));
    };
    let mut batch = org.batch(transaction, jobs)?;
    Ok(jobs.run(&mut batch, Runs::Once).map(|()| (org, batch)))
}

/// Saves the batches. An error comes with the place of its batch.
fn save_all(
    transaction: &redb::WriteTransaction,
    changes: &[Changes<'_>],
) -> Result<Vec<Saved>, (usize, redb::Error)> {
    let mut recent = OpenRecent::new(transaction).map_err(|error| (0, error))?;
    let mut all = Vec::with_capacity(changes.len());
    let mut format = FORMAT;
    for (place, Changes { jobs, org, batch }) in changes.iter().enumerate() {
        let saved = save(transaction, &mut recent, org, batch, jobs.len());
        let saved = saved.map_err(|error| (place, error))?;
        format = format.max(saved.format(batch));
        all.push(saved);
    }
    require_format(transaction, format).map_err(|error| (0, error))?;
    Ok(all)
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
