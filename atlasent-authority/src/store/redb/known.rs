//! What the writer knows of the organizations, so that it does not read the same in each
//! transaction.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use redb::{Database, ReadableTable, WriteTransaction};

use super::recent::OpenRecent;
use super::save::Saved;
use super::tables::{Tables, dropped, parse};
use crate::store::group::OrgJobs;
use crate::store::{Batch, Cell, OrgId};
use crate::trail::chain::ChainHead;

/// How many organizations and cells the writer knows at most. With more, it begins anew.
const MOST: usize = 50_000;

/// What the writer knows, as of its last transaction.
#[derive(Default)]
pub(super) struct Known {
    /// The open file. What is known of it does not hold for a file that was opened again.
    database: Weak<Database>,
    orgs: HashMap<OrgId, KnownOrg>,
    /// How many cells the organizations have here.
    cells: usize,
}

/// What the writer knows of an organization.
pub(super) struct KnownOrg {
    pub(super) tables: Tables,
    head: ChainHead,
    dropped: u64,
    /// The first event that is not in the tables. `None` if all events are.
    pub(super) first_recent: Option<u64>,
    /// The cells that are not in the tables.
    pub(super) cells: HashMap<[u8; 33], Cell>,
}

impl Known {
    /// Forgets what may not hold for this open file, and everything when it becomes too much.
    pub(super) fn prepare_for(&mut self, database: &Arc<Database>) {
        let is_same = std::ptr::eq(self.database.as_ptr(), Arc::as_ptr(database));
        if !is_same || self.cells + self.orgs.len() > MOST {
            *self = Self {
                database: Arc::downgrade(database),
                ..Self::default()
            };
        }
    }

    /// Takes what is known of an organization, for a transaction: [`put`](Self::put) it back once
    /// that has ended well. Otherwise, it is read again the next time, as at first. `None` for an
    /// organization that does not exist.
    pub(super) fn take(
        &mut self,
        transaction: &WriteTransaction,
        org: &OrgId,
    ) -> Result<Option<KnownOrg>, redb::Error> {
        if let Some(known) = self.orgs.remove(org) {
            self.cells -= known.cells.len();
            return Ok(Some(known));
        }
        let tables = Tables::new(org);
        if !tables.exist_for(transaction)? {
            return Ok(None);
        }
        // The library panics on recent changes that it cannot read.
        let read = || KnownOrg::read(transaction, tables);
        let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            Err(redb::Error::Corrupted(format!(
                "the recent changes of `{org}` cannot be read"
            )))
        });
        read.map(Some)
    }

    /// Keeps what is known of an organization.
    pub(super) fn put(&mut self, org: KnownOrg) {
        self.cells += org.cells.len();
        self.orgs.insert(org.id().clone(), org);
    }
}

impl KnownOrg {
    fn read(transaction: &WriteTransaction, tables: Tables) -> Result<Self, redb::Error> {
        let meta = transaction.open_table(tables.meta())?;
        let recent = OpenRecent::new(transaction)?;
        let recent = recent.of(tables.org())?;
        let cells = recent.cells().into_iter();
        let cells = cells.map(|(key, cell)| Ok((*key, parse(cell)?)));
        Ok(Self {
            head: recent.head(&meta)?,
            dropped: dropped(&meta)?,
            first_recent: recent.first(),
            cells: cells.collect::<Result<_, redb::Error>>()?,
            tables,
        })
    }

    pub(super) fn id(&self) -> &OrgId {
        self.tables.org()
    }

    /// Creates a batch for changes, with the cells that they read.
    pub(super) fn batch(
        &self,
        transaction: &WriteTransaction,
        jobs: &OrgJobs,
    ) -> Result<Batch, redb::Error> {
        let table = transaction.open_table(self.tables.cells())?;
        let mut cells = Vec::new();
        for key in jobs.reads().collect::<BTreeSet<_>>() {
            let bytes = key.to_bytes();
            if let Some(cell) = self.cells.get(&bytes) {
                cells.push((key, cell.clone()));
            } else if let Some(cell) = table.get(&bytes)? {
                cells.push((key, parse(cell.value())?));
            }
        }
        Ok(Batch::new(self.head.clone(), cells).after_dropped(self.dropped))
    }

    /// Takes over what a committed transaction has changed.
    pub(super) fn update(&mut self, mut batch: Batch, saved: Saved) {
        match saved {
            Saved::InRecent => {
                let first = batch.events().first().map(|event| event.sequence);
                self.first_recent = self.first_recent.or(first);
                let cells = batch.take_cells();
                self.cells
                    .extend(cells.map(|(key, cell)| (key.to_bytes(), cell)));
            }
            Saved::InTables { dropped, .. } => {
                self.first_recent = None;
                self.cells = HashMap::new();
                self.dropped = dropped;
            }
        }
        self.head = batch.into_head();
    }
}
