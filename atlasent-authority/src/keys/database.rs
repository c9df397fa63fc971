//! API keys in the database that several servers share.

use jiff::Timestamp;

use super::ApiKey;
use crate::store::{KeptKey, PostgresStore, Read, StoreError};

/// The API keys of all servers on one database.
impl PostgresStore {
    /// The keys, in the order in which they were made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let keys = self.read(Read::ApiKeys).await?;
        let keys = keys.iter().map(|json| serde_json::from_str(json));
        keys.collect::<Result<_, _>>().map_err(StoreError::failed)
    }

    /// Adds a key, or replaces the one with its id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it was not kept, or that is not known.
    pub async fn put_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let kept = KeptKey {
            key_id: key.key_id.clone(),
            json: serde_json::to_string(key).map_err(StoreError::failed)?,
            created_at: key.created_at.as_microsecond(),
        };
        self.read(|done| Read::PutApiKey(kept, done)).await
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
