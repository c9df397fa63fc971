//! Listing pending decisions, the newest first, and reading one of them.

use tokio_postgres::{Error, Row};

use super::connector::Connector;
use super::rows::signed;
use super::session::Session;
use crate::ledger::{ApprovalEntry, ApprovalKey};
use crate::store::approvals::PAGE_BYTES;
use crate::store::{ApprovalList, Cell, CellKey, OrgId, StoreError};

/// Steps through the index from one decision to the next, up to the one by which the page has its
/// bytes. A plain `ORDER BY opened DESC LIMIT` lets the planner read and sort the whole list where
/// its statistics are older than the list.
const BEFORE: &str = "\
    WITH RECURSIVE page (opened, value, place, bytes) AS ( \
        (SELECT opened, value, 1::bigint, octet_length(value)::bigint FROM atlasent_cells \
         WHERE org = $1 AND closed = $2 AND opened IS NOT NULL AND opened < $3::bigint AND $4::bigint > 0 \
         ORDER BY opened DESC LIMIT 1) \
        UNION ALL \
        SELECT next.opened, next.value, page.place + 1, page.bytes + octet_length(next.value) \
        FROM page, LATERAL ( \
            SELECT cell.opened, cell.value FROM atlasent_cells AS cell \
            WHERE cell.org = $1 AND cell.closed = $2 AND cell.opened IS NOT NULL \
                AND cell.opened < page.opened \
            ORDER BY cell.opened DESC LIMIT 1) AS next \
        WHERE page.place < $4::bigint AND page.bytes < $5::bigint) \
    SELECT value FROM page ORDER BY place";
const ONE: &str = "SELECT value FROM atlasent_cells WHERE org = $1 AND key = $2::bytea";

/// A request for a page of a list.
pub(crate) struct ApprovalPage {
    pub(super) org: OrgId,
    pub(super) list: ApprovalList,
    pub(super) before: u64,
    pub(super) limit: usize,
}

/// Returns what the row of a decision is found by: the sequence number of the event that opened it,
/// and whether it is closed. `None` for any other cell.
pub(super) fn columns(cell: &Cell) -> Option<(i64, bool)> {
    let entry = cell.approval()?;
    Some((signed(entry.sequence), !entry.is_open()))
}

/// Returns the rows of a page.
pub(super) async fn before(session: &Session, page: &ApprovalPage) -> Result<Vec<Row>, Error> {
    let is_closed = page.list == ApprovalList::Closed;
    let before = signed(page.before);
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let bytes = i64::try_from(PAGE_BYTES).unwrap_or(i64::MAX);
    let org = page.org.as_str();
    let client = &session.client;
    client
        .query(BEFORE, &[&org, &is_closed, &before, &limit, &bytes])
        .await
}

/// Returns the row of a decision, or no row.
pub(super) async fn one(
    session: &Session,
    org: &OrgId,
    key: ApprovalKey,
) -> Result<Vec<Row>, Error> {
    let key = CellKey::Approval(key).to_bytes();
    let client = &session.client;
    client.query(ONE, &[&org.as_str(), &key.as_slice()]).await
}

/// Returns the decisions in rows of [`before`] or [`one`].
pub(super) fn read(connector: &Connector, rows: &[Row]) -> Result<Vec<ApprovalEntry>, StoreError> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let value: &str = row.try_get(0).map_err(|error| connector.failed(&error))?;
        // Without the error's text, which may contain a caller's values.
        let cell = serde_json::from_str(value)
            .map_err(|_| connector.refused("an entry of the ledger cannot be read"))?;
        if let Cell::Approval(entry) = cell {
            found.push(*entry);
        }
    }
    Ok(found)
}
