//! Group commit in PostgreSQL: one transaction for all queued changes, in two round trips.
//!
//! The head's row is locked first, so that the changes of all processes to one organization run one
//! after the other. Those of different organizations run side by side, on a few connections. A
//! worked example, in which servers X and Y commit at the same time (`→` is one round trip):
//!
//! ```text
//! X → BEGIN; SELECT head FOR UPDATE; SELECT cells     gets head 7 and permit P: issued
//! Y → BEGIN; SELECT head FOR UPDATE; …                waits for the head's row
//! X   runs its changes in memory                      P: consumed, event 8
//! X → INSERT event 8; UPSERT P; DELETE expired cells;
//!     UPDATE head to 8; COMMIT                        the row is free, X answers its callers
//! Y   gets head 8; SELECT cells                       gets P: consumed, and refuses it
//! ```
//!
//! The statements of one round trip are sent together, without waiting for each other's answers;
//! the server runs them in their order. `READ COMMITTED` makes Y's `SELECT cells`, which runs after
//! the wait for the lock, see what X committed. A statement that fails aborts the transaction on
//! the server, and turns the `COMMIT` behind it into a `ROLLBACK`.
//!
//! # Serializable transactions
//!
//! Under `SERIALIZABLE`, a transaction sees what was committed before its first statement. In the
//! example Y began before X committed, so its wait ends in an error:
//!
//! ```text
//! Y   SELECT head FOR UPDATE                          40001: the row has changed
//! Y → ROLLBACK
//! Y → BEGIN; SELECT head FOR UPDATE; SELECT cells     gets head 8 and P: consumed, and refuses it
//! ```
//!
//! No change of Y has run by then. Changes only run on rows that are locked: as every transaction
//! updates the head that it has locked, no other one can have changed what Y read.
//!
//! The server may fail a transaction all the same. PostgreSQL tracks reads by pages and tables, and
//! takes two organizations with cells on the same page for a conflict. The error then comes after
//! the changes have run, from a later statement or from `COMMIT`. It promises that nothing was
//! kept, so the changes run again, on what the next transaction reads:
//!
//! ```text
//! Y   runs clones of its changes on head 8            event 9
//! Y → INSERT event 9; …; COMMIT                       40001: nothing was kept
//! Y → BEGIN; SELECT head FOR UPDATE; SELECT cells     head 9: another server was faster
//! Y   runs clones of its changes on head 9            event 10
//! Y → INSERT event 10; …; COMMIT                      Y answers its callers from the second run
//! ```
//!
//! A clone costs as much as the request that it holds. Under `READ COMMITTED`, where the head's
//! lock leaves no conflict over, changes are not cloned.

mod batch_rows;
mod loaded;
mod statements;

use std::time::Duration;

use self::batch_rows::BatchRows;
use self::loaded::{Loaded, Wanted};
use self::statements::Statements;
use super::connector::{Connector, Purpose};
use super::retry::Retries;
use super::url::Isolation;
use crate::store::group::{Jobs, OrgJobs, Round, Runs};
use crate::store::{Batch, OrgId, StoreError};

/// The answer to a change implies that it is on disk, whatever the server's own settings are.
pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET LOCAL synchronous_commit = on",
    answer: Duration::from_secs(10),
};

/// A connection that writes.
pub(super) struct Writer<'a> {
    connector: &'a Connector,
    open: Option<Statements>,
    /// Whether rows of dropped events may be left.
    sweeps: bool,
}

impl<'a> Writer<'a> {
    /// Creates a writer without a connection.
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            open: None,
            // A process may have stopped between dropping events and deleting their rows.
            sweeps: true,
        }
    }

    /// Keeps queued changes until every sender is dropped.
    pub(super) async fn write(mut self, jobs: &Jobs) {
        while let Some(mut next) = jobs.next().await {
            let result = self.keep(&mut next).await;
            next.answer(&result);
            while self.sweep().await && jobs.is_empty() {}
        }
    }

    /// Runs the changes, and keeps them in one transaction. Changes of an organization that cannot
    /// be run are answered here, and do not affect those of another.
    async fn keep(&mut self, round: &mut Round) -> Result<(), StoreError> {
        // Rows are locked in the order of the organizations, so that two processes never wait for
        // each other.
        round.orgs().sort_unstable_by(|a, b| a.org.cmp(&b.org));
        let changes = round.len();
        let wanted = Wanted::by(round.orgs());
        let mut retries = Retries::new(&PURPOSE);
        loop {
            // After an error the connection is dropped. It is put back when all went well.
            let (open, loaded) = self.begin(&wanted, &mut retries).await?;
            let batches = self.run(&loaded, round);
            if batches.is_empty() {
                self.connector.within(&PURPOSE, open.rollback()).await?;
                self.open = Some(open);
                return Ok(());
            }
            let rows = BatchRows::from_batches(&batches, changes).map_err(StoreError::failed)?;
            let committed = self.connector.within(&PURPOSE, open.commit(&rows)).await;
            match committed {
                Ok(()) => {
                    self.sweeps |= batches.iter().any(|(_, batch)| batch.dropped().is_some());
                    self.open = Some(open);
                    return Ok(());
                }
                Err(error) if self.repeats() && retries.again(&error).await => {
                    self.open = Some(open);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns whether changes can run again.
    fn repeats(&self) -> bool {
        self.connector.isolation() == Isolation::Serializable
    }

    /// Begins a transaction, and loads the heads and cells; again after each conflict. A connection
    /// that was lost since the last transaction is replaced without an error, since nothing was
    /// written on it.
    async fn begin(
        &mut self,
        wanted: &Wanted,
        retries: &mut Retries,
    ) -> Result<(Statements, Loaded), StoreError> {
        loop {
            let reused = self.open.take();
            let was_reused = reused.is_some();
            let open = match reused {
                Some(open) => open,
                None => self.connect().await?,
            };
            let rows = self.connector.within(&PURPOSE, open.load(wanted)).await;
            match rows {
                Ok((heads, cells)) => {
                    let loaded = Loaded::from_rows(heads, cells);
                    let loaded = loaded.map_err(|error| self.connector.failed(&error))?;
                    return Ok((open, loaded));
                }
                Err(error) if error.is_lost && was_reused => {}
                Err(error) if retries.again(&error).await => {
                    let ended = self.connector.within(&PURPOSE, open.rollback()).await;
                    self.open = ended.is_ok().then_some(open);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn connect(&self) -> Result<Statements, StoreError> {
        let session = self.connector.connect(&PURPOSE).await?;
        Ok(self
            .connector
            .within(&PURPOSE, Statements::prepare(session))
            .await?)
    }

    /// Runs the changes. Returns what they leave, by organization.
    fn run(&self, loaded: &Loaded, round: &mut Round) -> Vec<(OrgId, Batch)> {
        let mut batches = Vec::new();
        for jobs in round.orgs() {
            match self.run_of(loaded, jobs) {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => batches.push((jobs.org.clone(), batch)),
                Err(error) => jobs.answer(&Err(error)),
            }
        }
        batches
    }

    /// Runs the changes of one organization. An error, such as a cell that cannot be read, concerns
    /// that organization alone.
    fn run_of(&self, loaded: &Loaded, jobs: &mut OrgJobs) -> Result<Batch, StoreError> {
        let runs = if self.repeats() {
            Runs::Again
        } else {
            Runs::Once
        };
        let Some(mut batch) = loaded.batch(self.connector, jobs)? else {
            return Err(StoreError::UnknownOrganization(jobs.org.clone()));
        };
        jobs.run(&mut batch, runs)?;
        Ok(batch)
    }

    /// Deletes rows of dropped events. Returns whether to go on at once.
    async fn sweep(&mut self) -> bool {
        if let Some(open) = self.open.as_ref().filter(|_| self.sweeps) {
            match self.connector.within(&PURPOSE, open.sweep()).await {
                Ok(rows) => self.sweeps = rows > 0,
                // After the next change it is tried again.
                Err(error) if error.is_conflict => return false,
                // The next change reports what is wrong.
                Err(_) => self.open = None,
            }
        }
        self.sweeps && self.open.is_some()
    }
}
