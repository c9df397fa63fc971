//! Listing permits, the newest first, and finding them by public id.

use std::sync::Arc;

use tokio_postgres::{Error, Row};

use super::connector::Connector;
use super::rows::signed;
use super::session::Session;
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::store::{Cell, CellKey, OrgId, StoreError};

const BEFORE: &str = "\
    SELECT key, value FROM atlasent_cells \
    WHERE org = $1 AND issued IS NOT NULL AND issued < $2::bigint \
    ORDER BY issued DESC LIMIT $3::bigint";
const BY_KEY: &str = "\
    SELECT key FROM atlasent_cells WHERE org = $1 AND key BETWEEN $2::bytea AND $3::bytea LIMIT 1";

/// Returns the rows of at most `limit` permits that were issued before an event.
pub(super) async fn before(
    session: &Session,
    org: &OrgId,
    before: u64,
    limit: usize,
) -> Result<Vec<Row>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let client = &session.client;
    client
        .query(BEFORE, &[&org.as_str(), &signed(before), &limit])
        .await
}

/// Returns the permits in rows of [`before`].
pub(super) fn read(
    connector: &Connector,
    rows: &[Row],
) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
    let mut permits = Vec::with_capacity(rows.len());
    for row in rows {
        let columns = || Ok((row.try_get::<_, &[u8]>(0)?, row.try_get::<_, &str>(1)?));
        let (key, value) = columns().map_err(|error| connector.failed(&error))?;
        // Without the error's text, which may contain a caller's values.
        let cell = serde_json::from_str(value)
            .map_err(|_| connector.refused("an entry of the ledger cannot be read"))?;
        if let (Some(key), Cell::Permit(entry)) = (key_in(key), cell) {
            permits.push((key, Arc::unwrap_or_clone(entry)));
        }
    }
    Ok(permits)
}

/// Returns the key of the permit with a public id, which determines the first half of the key.
pub(super) async fn key_of(
    session: &Session,
    org: &OrgId,
    id: PermitId,
) -> Result<Option<PermitKey>, Error> {
    let (first, last) = id.keys();
    let [first, last] = [first, last].map(|key| CellKey::Permit(key).to_bytes());
    let client = &session.client;
    let found = client
        .query_opt(
            BY_KEY,
            &[&org.as_str(), &first.as_slice(), &last.as_slice()],
        )
        .await?;
    found.map_or(Ok(None), |row| row.try_get(0).map(key_in))
}

/// Returns the permit's key from the key of its cell: all but the first byte, the kind.
fn key_in(cell: &[u8]) -> Option<PermitKey> {
    let (_, key) = cell.split_first()?;
    Some(PermitKey::from_bytes(key.try_into().ok()?))
}
