//! The tables of API keys and of organizations: each row holds a record as JSON, and each table has
//! a version that every change to it changes.
#![cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "API keys and the registry belong to the server")
)]

use tokio_postgres::Error;

use super::organizations;
use super::session::Session;
use crate::store::{OrgId, StoreError};

/// A table of records.
#[derive(Clone, Copy)]
pub(crate) enum RecordTable {
    ApiKeys,
    Organizations,
}

/// Rewrites the JSON of a record, or returns `None` to leave the record as it is.
pub(crate) type Rewrite = Box<dyn Fn(&str) -> Result<Option<String>, StoreError> + Send>;

/// A row of the table of API keys.
pub(crate) struct KeptKey {
    pub(crate) key_id: String,
    pub(crate) json: String,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

/// A row of the table of organizations.
pub(crate) struct KeptOrganization {
    pub(crate) id: OrgId,
    pub(crate) json: String,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

impl RecordTable {
    /// Returns the version of the table.
    pub(super) async fn version(self, session: &Session) -> Result<i64, Error> {
        let query = match self {
            Self::ApiKeys => "SELECT version FROM atlasent_api_keys_version",
            Self::Organizations => "SELECT version FROM atlasent_organizations_version",
        };
        session.client.query_one_scalar(query, &[]).await
    }

    /// Returns all records, in the order in which they were created.
    pub(super) async fn all(self, session: &Session) -> Result<Vec<String>, Error> {
        let query = match self {
            Self::ApiKeys => "SELECT key FROM atlasent_api_keys ORDER BY created_at, key_id",
            Self::Organizations => {
                "SELECT record FROM atlasent_organizations ORDER BY created_at, org"
            }
        };
        let rows = session.client.query(query, &[]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// Rewrites a record, in the session's transaction. Returns whether the record exists and was
    /// rewritten.
    pub(super) async fn rewrite(
        self,
        session: &Session,
        id: &str,
        rewrite: &Rewrite,
    ) -> Result<Result<bool, StoreError>, Error> {
        let (select, update) = match self {
            Self::ApiKeys => (
                "SELECT key FROM atlasent_api_keys WHERE key_id = $1 FOR UPDATE",
                "UPDATE atlasent_api_keys SET key = $2 WHERE key_id = $1",
            ),
            Self::Organizations => (
                "SELECT record FROM atlasent_organizations WHERE org = $1 FOR UPDATE",
                "UPDATE atlasent_organizations SET record = $2 WHERE org = $1",
            ),
        };
        let client = &session.client;
        let row = client.query_opt(select, &[&id]).await?;
        let json: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
        let rewritten = json.map_or(Ok(None), |json| rewrite(&json));
        if let Ok(Some(json)) = &rewritten {
            client.execute(update, &[&id, json]).await?;
        }
        Ok(rewritten.map(|json| json.is_some()))
    }
}

impl KeptKey {
    /// Keeps the key, in place of the key with the same id. Returns `false` if that one belongs to
    /// another organization. Records from before there were several belong to `local`.
    pub(super) async fn put(&self, session: &Session) -> Result<bool, Error> {
        let put = "INSERT INTO atlasent_api_keys AS known (key_id, key, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (key_id) DO UPDATE SET key = excluded.key \
             WHERE coalesce(known.key::json ->> 'org_id', 'local') \
                 = coalesce(excluded.key::json ->> 'org_id', 'local')";
        let client = &session.client;
        let rows = client
            .execute(put, &[&self.key_id, &self.json, &self.created_at])
            .await?;
        Ok(rows == 1)
    }
}

impl KeptOrganization {
    /// Keeps the organization and creates its chain, in the session's transaction. Returns `false`
    /// if the table has the id. The chain may exist without a record: then it stays as it is.
    pub(super) async fn create(&self, session: &Session) -> Result<bool, Error> {
        let insert = "\
            INSERT INTO atlasent_organizations (org, record, created_at) VALUES ($1, $2, $3) \
            ON CONFLICT (org) DO NOTHING";
        let client = &session.client;
        let rows = client
            .execute(insert, &[&self.id.as_str(), &self.json, &self.created_at])
            .await?;
        if rows == 1 {
            organizations::create(session, &self.id).await?;
        }
        Ok(rows == 1)
    }
}
