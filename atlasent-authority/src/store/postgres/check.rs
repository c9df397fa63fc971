//! The check of a PostgreSQL store: its chain, and its cells.

use tokio_postgres::Error;

use super::reader::ReadCall;
use super::rows::{signed, unsigned};
use super::session::{Parameter, Session};
use super::{PostgresStore, approvals};
use crate::store::check::{StoreCheck, StoreReport};
use crate::store::{Cell, CellKey, OrgId, Organizations, Store, StoreError, StoreStatus};
use crate::trail::EventFilter;

/// How many events or cells are in memory at a time.
const AT_ONCE: usize = 1_000;

/// How often the check starts over because events were dropped meanwhile.
const ATTEMPTS: usize = 5;

const CELLS: &str = "\
    SELECT key, value, expires_at, issued, opened, closed FROM atlasent_cells WHERE org = $1 AND key > $2::bytea \
    ORDER BY key LIMIT $3::bigint";

/// A row of the table of cells.
pub(crate) struct CellRow {
    key: Vec<u8>,
    value: String,
    expires_at: i64,
    issued: Option<i64>,
    opened: Option<i64>,
    closed: Option<bool>,
}

impl PostgresStore {
    /// Verifies the chain of each organization up to the present head: every event with its hash
    /// and its link, and the head. Checks also that each cell is readable and filed under its own
    /// times.
    ///
    /// Changes may continue meanwhile. Events that are dropped meanwhile are not reported as
    /// missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the events or the cells cannot be read, or when events were dropped
    /// during each of 5 attempts.
    pub async fn check(&self) -> Result<StoreReport, StoreError> {
        let mut report = self.organization(&OrgId::local()).check_one().await?;
        loop {
            let last = report.others.last_key_value().map(|(id, _)| id);
            let next = self.organizations(last, 1).await?;
            let Some(id) = next.into_iter().next() else {
                return Ok(report);
            };
            let other = self.organization(&id).check_one().await?;
            report.others.insert(id, other);
        }
    }

    async fn check_one(&self) -> Result<StoreReport, StoreError> {
        for _ in 0..ATTEMPTS {
            let status = self.status().await?;
            let dropped = status.dropped;
            let report = self.check_from(status).await?;
            // Events that retention drops between two pages look missing.
            if report.is_good() || self.status().await?.dropped == dropped {
                return Ok(report);
            }
        }
        Err(StoreError::failed(
            "the store cannot be checked: events were dropped during each attempt, try again",
        ))
    }

    async fn check_from(&self, status: StoreStatus) -> Result<StoreReport, StoreError> {
        let filter = EventFilter::default().through(status.head.sequence);
        let mut after = status.dropped;
        let mut check = StoreCheck::new(status);
        loop {
            let events = self.events(after, AT_ONCE, &filter).await?;
            let Some(last) = events.last() else {
                break;
            };
            after = last.sequence;
            events.iter().for_each(|event| check.push(event));
        }
        self.check_cells(&mut check).await?;
        self.check_open(&mut check).await?;
        Ok(check.finish())
    }

    async fn check_open(&self, check: &mut StoreCheck) -> Result<(), StoreError> {
        let org = self.group.org().clone();
        let (open, cell) = self.read(|done| ReadCall::OpenApprovals(org, done)).await?;
        let cell = cell.map(|cell| serde_json::from_str(&cell));
        let counted = match cell {
            None => 0,
            Some(Ok(Cell::OpenApprovals(count))) => count,
            // An unreadable cell is reported above.
            Some(_) => return Ok(()),
        };
        check.compare_open(open, counted);
        Ok(())
    }

    async fn check_cells(&self, check: &mut StoreCheck) -> Result<(), StoreError> {
        let mut after = Vec::new();
        loop {
            let org = self.group.org().clone();
            let cells = self
                .read(|done| ReadCall::Cells(org, after, AT_ONCE, done))
                .await?;
            for problem in cells.iter().filter_map(CellRow::problem) {
                check.find(problem);
            }
            match cells.into_iter().next_back() {
                Some(last) => after = last.key,
                None => return Ok(()),
            }
        }
    }
}

/// The number of open decisions, and the cell that counts them, at one moment.
const OPEN: &str = "\
    SELECT (SELECT count(*) FROM atlasent_cells WHERE org = $1 AND opened IS NOT NULL AND NOT closed), \
        (SELECT value FROM atlasent_cells WHERE org = $1 AND key = $2::bytea)";

/// Counts the open decisions, and reads the cell that counts them.
pub(super) async fn open(session: &Session, org: &OrgId) -> Result<(u64, Option<String>), Error> {
    let key = CellKey::OpenApprovals.to_bytes();
    let parameters: [&dyn Parameter; 2] = [&org.as_str(), &key.as_slice()];
    let row = session.client.query(OPEN, &parameters).await?;
    let row = row.first();
    let count = row.map_or(Ok(0), |row| row.try_get(0))?;
    let cell = row.map_or(Ok(None), |row| row.try_get(1))?;
    Ok((unsigned(count), cell))
}

impl CellRow {
    fn problem(&self) -> Option<String> {
        let name = base16ct::lower::encode_string(&self.key);
        // Without the error's text, which may contain a caller's values.
        let Ok(cell) = serde_json::from_str::<Cell>(&self.value) else {
            return Some(format!("the entry {name} of the ledger cannot be read"));
        };
        let issued = cell.permit().map(|permit| signed(permit.sequence));
        // A permit that an earlier version of the tables kept is filed under no event.
        let is_misfiled = self.issued.is_some() && self.issued != issued;
        let is_misfiled = is_misfiled || self.opened.zip(self.closed) != approvals::columns(&cell);
        if is_misfiled || self.expires_at != cell.expires_at().as_microsecond() {
            return Some(format!(
                "the entry {name} of the ledger is filed under another time or event than it names"
            ));
        }
        None
    }
}

/// Reads at most `limit` cells behind a key.
pub(super) async fn cells(
    session: &Session,
    org: &OrgId,
    after: &[u8],
    limit: usize,
) -> Result<Vec<CellRow>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session
        .client
        .query(CELLS, &[&org.as_str(), &after, &limit])
        .await?;
    let cells = rows.iter().map(|row| {
        Ok(CellRow {
            key: row.try_get(0)?,
            value: row.try_get(1)?,
            expires_at: row.try_get(2)?,
            issued: row.try_get(3)?,
            opened: row.try_get(4)?,
            closed: row.try_get(5)?,
        })
    });
    cells.collect()
}
