//! The API keys that a server accepts, indexed by their digests.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use atlasent::text::Escaped;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::entry::admission::Sharing;
use super::rereads::Rereads;
use super::sources::{SourceError, SourceRecord, Sources};
use crate::keys::{ApiKey, KeyDigest, KeyFile, KeyFileError};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::store::{OrgId, StoreError};

/// The API keys that a server accepts: fixed keys, and those of a file and of a database.
///
/// A key belongs to one organization. If records name two organizations for one key, the key is
/// refused, also if it was revoked in one of them: either organization could otherwise be reached
/// by the key of the other. [`new`](Self::new) logs such a key; reading keys fails with
/// [`ApiKeysError::SharedKey`].
///
/// ```
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment};
/// use atlasent_authority::server::ApiKeys;
///
/// let (key, _secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// let keys = ApiKeys::new([key]);
/// assert_eq!(keys.len(), 1);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ApiKeys {
    fixed: Vec<ApiKey>,
    sources: Sources<ApiKey>,
    /// The rounds in which the server's task reads the sources again.
    pub(super) rereads: Rereads,
    index: RwLock<Arc<Index>>,
}

impl SourceRecord for ApiKey {
    const THREAD: &'static str = "atlasent-keys";

    #[cfg(feature = "postgres")]
    async fn version_in(database: &PostgresStore) -> Result<i64, StoreError> {
        database.api_keys_version().await
    }

    #[cfg(feature = "postgres")]
    async fn all_in(database: &PostgresStore) -> Result<Vec<Self>, StoreError> {
        database.api_keys().await
    }
}

/// Why API keys cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// The file of keys cannot be read.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The keys of the database cannot be read.
    #[error("the API keys of the database cannot be read: {0}")]
    Store(#[from] StoreError),
    /// Records name two organizations for one key. The key is refused, and all others are accepted.
    #[error(
        "the API key `{}` belongs to two organizations, `{one}` and `{other}`, so it is refused: remove its records, \
         and create a key for each organization",
        Escaped::new(key_id)
    )]
    SharedKey {
        /// The key's id.
        key_id: String,
        /// One of the organizations.
        one: OrgId,
        /// Another of the organizations.
        other: OrgId,
    },
}

impl From<SourceError> for ApiKeysError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::File(error) => Self::File(error.into()),
            SourceError::Store(error) => Self::Store(error),
        }
    }
}

#[derive(Debug, Default)]
struct Index {
    /// The keys by the first bytes of their digests. The whole digests are compared in constant
    /// time.
    keys: HashMap<[u8; 8], Vec<Arc<ApiKey>>>,
    /// How many keys each organization has.
    by_org: HashMap<OrgId, usize>,
}

impl ApiKeys {
    /// Accepts these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        let api_keys = Self {
            fixed: keys.into_iter().collect(),
            ..Self::default()
        };
        if let Err(error) = api_keys.index(Vec::new()) {
            tracing::error!(target: "atlasent", %error, "an API key is refused");
        }
        api_keys
    }

    /// Also accepts the keys of a file, which the server reads again when it changes. A second call
    /// replaces the file.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when the file cannot be read, does not hold keys, or names another
    /// organization for a key.
    pub async fn with_file(mut self, file: KeyFile) -> Result<Self, ApiKeysError> {
        self.sources.set_file(file.0);
        self.refresh().await?;
        Ok(self)
    }

    /// Also accepts the keys of a database, which the server reads again when they change. A second
    /// call replaces the database.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when the keys cannot be read, or name another organization for a key.
    #[cfg(feature = "postgres")]
    pub async fn with_database(mut self, database: PostgresStore) -> Result<Self, ApiKeysError> {
        self.sources.set_database(database);
        self.refresh().await?;
        Ok(self)
    }

    /// Reads the keys of each source that has changed. After this, revoked keys are refused.
    ///
    /// If a source cannot be read, its former keys stay, and the other source is read all the same.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when a source cannot be read, or when a source that was read again names
    /// another organization for a key.
    pub async fn refresh(&self) -> Result<(), ApiKeysError> {
        let mut indexed = Ok(());
        let index = |keys| indexed = self.index(keys);
        let read = self.sources.refresh(index).await;
        indexed?;
        Ok(read?)
    }

    /// Returns the keys of the file and the database with their version, if that differs from
    /// `seen`.
    pub(super) async fn stored_since(&self, seen: u64) -> Option<(u64, Vec<ApiKey>)> {
        self.sources.changed_since(seen).await
    }

    /// The number of keys, with revoked and expired ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().by_org.values().sum()
    }

    /// Whether the server has no key, and so refuses every request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds a key by its secret. An unknown key may be new, so the sources are read again first,
    /// within the limits of [`Rereads`].
    pub(super) async fn find(&self, key: &SecretString) -> Option<Arc<ApiKey>> {
        let digest = KeyDigest::from_key(key.expose_secret());
        let found = self.find_by_digest(&digest);
        if found.is_some() || !self.sources.are_set() {
            return found;
        }
        self.rereads.wait().await;
        self.find_by_digest(&digest)
    }

    /// Finds a key by its digest.
    pub(super) fn find_by_digest(&self, digest: &KeyDigest) -> Option<Arc<ApiKey>> {
        let index = self.read();
        let found = index.keys.get(&prefix(digest))?.iter();
        found.fold(None, |found, key| {
            let same = key.digest.as_bytes().ct_eq(digest.as_bytes());
            bool::from(same).then(|| Arc::clone(key)).or(found)
        })
    }

    /// Returns whether a key of this organization shares the server with others. `people` is the
    /// organization of those who log in without an API key, if there are any.
    pub(super) fn sharing(&self, org: &OrgId, people: Option<&OrgId>) -> Sharing {
        let by_org = &self.read().by_org;
        let have_keys = people.is_none_or(|people| by_org.contains_key(people));
        Sharing {
            is_only_org: by_org.len() == 1 && have_keys,
            is_only_key: by_org.get(org) == Some(&1) && people != Some(org),
        }
    }

    /// Replaces the index. The error names the first key that is left out of it.
    fn index(&self, more: impl IntoIterator<Item = ApiKey>) -> Result<(), ApiKeysError> {
        let mut index = Index::default();
        for key in self.fixed.iter().cloned().chain(more) {
            let same_prefix = index.keys.entry(prefix(&key.digest)).or_default();
            same_prefix.push(Arc::new(key));
        }
        let shared = index.remove_shared();
        for key in index.keys.values().flatten() {
            *index.by_org.entry(key.org_id.clone()).or_default() += 1;
        }
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
        shared.map_or(Ok(()), Err)
    }

    fn read(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Index {
    /// Removes the keys that belong to more than one organization. Returns the error for one of
    /// them.
    fn remove_shared(&mut self) -> Option<ApiKeysError> {
        let mut shared = None;
        for keys in self.keys.values_mut().filter(|keys| keys.len() > 1) {
            let all = keys.clone();
            let elsewhere = |key: &ApiKey| {
                let mut same = all.iter().filter(|other| other.digest == key.digest);
                same.find(|other| other.org_id != key.org_id)
            };
            keys.retain(|key| {
                let other = elsewhere(key);
                if let Some(other) = other {
                    shared.get_or_insert_with(|| ApiKeysError::SharedKey {
                        key_id: key.key_id.clone(),
                        one: key.org_id.clone(),
                        other: other.org_id.clone(),
                    });
                }
                other.is_none()
            });
        }
        shared
    }
}

fn prefix(digest: &KeyDigest) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_without_api_keys_share_the_server_with_the_keys() {
        let secret = SecretString::from("ask_test_local1");
        let keys = ApiKeys::new([ApiKey::parse_allow_weak(&secret).unwrap()]);
        let (local, acme) = (OrgId::local(), "acme".parse().unwrap());
        for (org, people, is_only_org, is_only_key) in [
            (&local, None, true, true),
            (&local, Some(&local), true, false),
            (&local, Some(&acme), false, true),
            (&acme, Some(&acme), false, false),
        ] {
            let expected = Sharing {
                is_only_org,
                is_only_key,
            };
            assert_eq!(keys.sharing(org, people), expected, "{org} {people:?}");
        }
    }
}
