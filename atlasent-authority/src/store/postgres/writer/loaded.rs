//! What a transaction loads: the heads of organizations, and the cells that the changes read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::{Error, Row};

use crate::store::group::OrgJobs;
use crate::store::postgres::connector::Connector;
use crate::store::postgres::rows::{head_of, unsigned};
use crate::store::{Batch, Cell, CellKey, OrgId, StoreError};

/// The heads and cells to load.
pub(super) struct Wanted {
    pub(super) orgs: Vec<OrgId>,
    pub(super) cells: Vec<(OrgId, [u8; 33])>,
}

/// The rows of each organization that exists.
pub(super) struct Loaded(HashMap<String, OrgRows>);

struct OrgRows {
    head: Row,
    cells: Vec<Row>,
}

impl Wanted {
    /// Returns what the changes name.
    pub(super) fn by(orgs: &[OrgJobs]) -> Self {
        let cells: BTreeSet<_> = orgs
            .iter()
            .flat_map(|jobs| jobs.reads().map(|key| (jobs.org.clone(), key.to_bytes())))
            .collect();
        Self {
            orgs: orgs.iter().map(|jobs| jobs.org.clone()).collect(),
            cells: cells.into_iter().collect(),
        }
    }
}

impl Loaded {
    /// Sorts rows by organization.
    pub(super) fn from_rows(heads: Vec<Row>, cells: Vec<Row>) -> Result<Self, Error> {
        let mut orgs = HashMap::with_capacity(heads.len());
        for head in heads {
            let org: String = head.try_get(4)?;
            let cells = Vec::new();
            orgs.insert(org, OrgRows { head, cells });
        }
        for cell in cells {
            if let Some(rows) = orgs.get_mut(cell.try_get::<_, &str>(0)?) {
                rows.cells.push(cell);
            }
        }
        Ok(Self(orgs))
    }

    /// Returns a batch for the changes of an organization, or `None` for an unknown one.
    pub(super) fn batch(
        &self,
        connector: &Connector,
        jobs: &OrgJobs,
    ) -> Result<Option<Batch>, StoreError> {
        let Some(rows) = self.0.get(jobs.org.as_str()) else {
            return Ok(None);
        };
        let head = head_of(connector, &rows.head)?;
        let dropped = rows.head.try_get(5);
        let dropped = unsigned(dropped.map_err(|error| connector.failed(&error))?);
        let keys: BTreeMap<[u8; 33], CellKey> =
            jobs.reads().map(|key| (key.to_bytes(), key)).collect();
        let mut known = Vec::with_capacity(rows.cells.len());
        for row in &rows.cells {
            let (key, value) = cell(row).map_err(|error| connector.failed(&error))?;
            let cell: Cell = serde_json::from_str(value).map_err(|error| {
                // Without the error's text, which may contain a caller's values.
                let (line, column) = (error.line(), error.column());
                let place = format_args!("an entry cannot be read at {line}:{column}");
                connector.refused(place)
            })?;
            known.extend(keys.get(key).map(|key| (*key, cell)));
        }
        Ok(Some(Batch::new(head, known).after_dropped(dropped)))
    }
}

/// Returns the key and the value of a cell.
fn cell(row: &Row) -> Result<(&[u8], &str), Error> {
    Ok((row.try_get(1)?, row.try_get(2)?))
}
