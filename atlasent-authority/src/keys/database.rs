//! API keys in the database that several servers share.

use jiff::Timestamp;

use super::ApiKey;
use crate::store::{PostgresStore, StoreError};

/// The API keys of all servers on one database.
impl PostgresStore {
    /// The keys, in the order in which they were made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let query = "SELECT key FROM atlasent_api_keys ORDER BY created_at, key_id";
        let rows = self.read(query, Vec::new()).await?;
        rows.iter().map(|row| Self::parsed(row.get(0))).collect()
    }

    /// Adds a key, or replaces the one with its id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it was not kept, or that is not known.
    pub async fn put_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let query = "INSERT INTO atlasent_api_keys (key_id, key, created_at) VALUES ($1, $2, $3)
            ON CONFLICT (key_id) DO UPDATE SET key = excluded.key";
        let text = serde_json::to_string(key).map_err(StoreError::failed)?;
        let created_at = key.created_at.as_microsecond();
        let id = key.key_id.clone();
        self.read(
            query,
            vec![Box::new(id), Box::new(text), Box::new(created_at)],
        )
        .await
        .map(drop)
    }

    /// Takes a key back, by its id. Says whether there was one to take back.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that was not kept, or is not known.
    pub async fn revoke_api_key(&self, key_id: &str) -> Result<bool, StoreError> {
        let keys = self.api_keys().await?;
        let mut good = keys.into_iter().filter(|key| key.revoked_at.is_none());
        let Some(mut key) = good.find(|key| key.key_id == key_id) else {
            return Ok(false);
        };
        key.revoked_at = Some(Timestamp::now());
        self.put_api_key(&key).await?;
        Ok(true)
    }
}
