//! API keys in a database that several servers share.

use jiff::Timestamp;

use super::ApiKey;
use crate::store::{KeptKey, KeyCall, PostgresStore, RecordTable, StoreError};

/// The API keys of all servers that share the database.
impl PostgresStore {
    /// Returns the keys, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the keys cannot be read.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let keys = self
            .key_call(|done| KeyCall::All(RecordTable::ApiKeys, done))
            .await?;
        let keys = keys.iter().map(|json| serde_json::from_str(json));
        keys.collect::<Result<_, _>>().map_err(StoreError::failed)
    }

    /// Adds a key, or replaces the key with the same id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the key with the same id belongs to another organization, when the key
    /// was not stored, or when it is unknown whether it was.
    pub async fn put_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let kept = KeptKey {
            key_id: key.key_id.clone(),
            json: serde_json::to_string(key).map_err(StoreError::failed)?,
            created_at: key.created_at.as_microsecond(),
        };
        match self.key_call(|done| KeyCall::Put(kept, done)).await? {
            true => Ok(()),
            false => Err(StoreError::failed(format!(
                "the API key `{}` belongs to another organization, and a key belongs to one: create another key",
                key.key_id
            ))),
        }
    }

    /// Revokes a key by its id, in one transaction. Returns `false` if the id is unknown or the key
    /// was revoked before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the revocation was not stored, or when it is unknown whether it was.
    pub async fn revoke_api_key(&self, key_id: &str) -> Result<bool, StoreError> {
        let now = Timestamp::now();
        let revoke = move |json: &str| {
            let mut key: ApiKey = serde_json::from_str(json).map_err(StoreError::failed)?;
            if key.revoked_at.is_some() {
                return Ok(None);
            }
            key.revoked_at = Some(now);
            serde_json::to_string(&key)
                .map(Some)
                .map_err(StoreError::failed)
        };
        let key_id = key_id.to_owned();
        self.key_call(|done| KeyCall::Rewrite(RecordTable::ApiKeys, key_id, Box::new(revoke), done))
            .await
    }

    /// Returns the version of the keys, which changes with each change to a key by any process.
    pub(crate) async fn api_keys_version(&self) -> Result<i64, StoreError> {
        self.key_call(|done| KeyCall::Version(RecordTable::ApiKeys, done))
            .await
    }
}
