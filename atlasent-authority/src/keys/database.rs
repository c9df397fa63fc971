//! API keys in the database that several servers share.

use jiff::Timestamp;

use super::ApiKey;
use crate::store::{KeptKey, KeyCall, PostgresStore, StoreError};

/// The API keys of all servers on one database.
impl PostgresStore {
    /// The keys, in the order in which they were made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let keys = self.key_call(KeyCall::All).await?;
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
        self.key_call(|done| KeyCall::Put(kept, done)).await
    }

    /// Revokes a key, by its id, in one transaction. Returns whether a key was revoked: an unknown
    /// id and a key that was revoked before are `false`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that was not kept, or is not known.
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
        self.key_call(|done| KeyCall::Rewrite(key_id, Box::new(revoke), done))
            .await
    }

    /// The version of the keys. Every change to a key changes it, whichever process makes it.
    pub(crate) async fn api_keys_version(&self) -> Result<i64, StoreError> {
        self.key_call(KeyCall::Version).await
    }
}
