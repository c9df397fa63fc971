//! The organizations of a database: each has a row in the table of heads.

use tokio_postgres::Error;

use super::session::Session;
use crate::store::OrgId;
use crate::trail::chain::ChainHead;

/// Returns whether an organization exists.
pub(super) async fn exists(session: &Session, org: &OrgId) -> Result<bool, Error> {
    let query = "SELECT 1 FROM atlasent_head WHERE org = $1";
    let found = session.client.query_opt(query, &[&org.as_str()]).await?;
    Ok(found.is_some())
}

/// Returns at most `limit` organizations beside `local` with greater ids, in the order of their
/// ids.
pub(super) async fn after(
    session: &Session,
    after: Option<&OrgId>,
    limit: usize,
) -> Result<Vec<OrgId>, Error> {
    let query = "\
        SELECT org FROM atlasent_head WHERE org > $1 COLLATE \"C\" AND org <> 'local' \
        ORDER BY org LIMIT $2::bigint";
    let after = after.map_or("", OrgId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.client.query(query, &[&after, &limit]).await?;
    // Only ids are written into the table.
    let ids = rows.iter().map(|row| row.try_get::<_, &str>(0));
    let ids = ids.filter_map(|id| id.map(|id| id.parse().ok()).transpose());
    ids.collect()
}

/// Creates an organization. Returns `false` if it exists.
pub(super) async fn create(session: &Session, org: &OrgId) -> Result<bool, Error> {
    let insert = "\
        INSERT INTO atlasent_head (org, org_id, sequence, hash, time) VALUES ($1, $1, 0, $2, $3) \
        ON CONFLICT (org) DO NOTHING";
    let head = ChainHead::genesis(org.as_str());
    let time = head.time.to_string();
    let client = &session.client;
    let rows = client
        .execute(insert, &[&org.as_str(), &&*head.hash, &time])
        .await?;
    Ok(rows == 1)
}
