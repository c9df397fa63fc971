//! The API keys that a server accepts, indexed by their digests.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;

use super::off_thread::off_thread;
use crate::keys::{ApiKey, FileVersion, KeyDigest, KeyFile, KeyFileError};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::store::StoreError;

/// The API keys that a server accepts: fixed keys, and those of a file and of a database.
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
    file: Option<KeyFile>,
    #[cfg(feature = "postgres")]
    database: Option<PostgresStore>,
    /// The keys of the file and the database. The lock is held while they are read again.
    sources: Mutex<Sources>,
    index: RwLock<Arc<Index>>,
}

#[derive(Debug, Default)]
struct Sources {
    file: Source<FileVersion>,
    #[cfg(feature = "postgres")]
    database: Source<i64>,
    /// The number of times that a source was read again.
    version: u64,
}

/// The keys of a source. `version` is that of the source just before the keys were read, so that a
/// change in between is found the next time.
#[derive(Debug)]
struct Source<V> {
    version: Option<V>,
    keys: Vec<ApiKey>,
}

impl<V> Default for Source<V> {
    fn default() -> Self {
        Self {
            version: None,
            keys: Vec::new(),
        }
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
}

/// The keys by the first bytes of their digests. The whole digests are compared in constant time.
type Index = HashMap<[u8; 8], Vec<Arc<ApiKey>>>;

impl ApiKeys {
    /// Accepts these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        let api_keys = Self {
            fixed: keys.into_iter().collect(),
            ..Self::default()
        };
        api_keys.index(Vec::new());
        api_keys
    }

    /// Also accepts the keys of a file, which the server reads again when it changes. A second call
    /// replaces the file.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when the file cannot be read, or does not hold keys.
    pub async fn with_file(mut self, file: KeyFile) -> Result<Self, ApiKeysError> {
        self.file = Some(file);
        self.sources.get_mut().file = Source::default();
        self.refresh().await?;
        Ok(self)
    }

    /// Also accepts the keys of a database, which the server reads again when they change. A second
    /// call replaces the database.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when the keys cannot be read.
    #[cfg(feature = "postgres")]
    pub async fn with_database(mut self, database: PostgresStore) -> Result<Self, ApiKeysError> {
        self.database = Some(database);
        self.sources.get_mut().database = Source::default();
        self.refresh().await?;
        Ok(self)
    }

    /// Reads the keys of each source that has changed. After this, revoked keys are refused.
    ///
    /// If a source cannot be read, its former keys stay, and the other source is read all the same.
    ///
    /// # Errors
    ///
    /// [`ApiKeysError`] when a source cannot be read.
    pub async fn refresh(&self) -> Result<(), ApiKeysError> {
        let mut sources = self.sources.lock().await;
        let file = self.refresh_file(&mut sources.file).await;
        #[cfg(feature = "postgres")]
        let database = self.refresh_database(&mut sources.database).await;
        #[cfg(not(feature = "postgres"))]
        let database = Ok(false);
        if matches!(file, Ok(true)) || matches!(database, Ok(true)) {
            let keys = sources.file.keys.iter();
            #[cfg(feature = "postgres")]
            let keys = keys.chain(&sources.database.keys);
            self.index(keys.cloned());
            sources.version += 1;
        }
        file.and(database).map(drop)
    }

    /// Reads the keys of the file if it has changed. Returns whether they were read.
    async fn refresh_file(&self, source: &mut Source<FileVersion>) -> Result<bool, ApiKeysError> {
        let Some(file) = self.file.clone() else {
            return Ok(false);
        };
        let path = file.path().display().to_string();
        let seen = source.version;
        let reading = move || {
            let version = file.version();
            let is_current = version.is_some() && version == seen;
            let keys = if is_current { None } else { Some(file.load()) };
            (version, keys)
        };
        let read = off_thread("atlasent-keys", reading).await;
        let (version, keys) = read.map_err(|source| KeyFileError::Io { path, source })?;
        let Some(keys) = keys else {
            return Ok(false);
        };
        source.keys = keys?;
        source.version = version;
        Ok(true)
    }

    /// Reads the keys of the database if they have changed. Returns whether they were read.
    #[cfg(feature = "postgres")]
    async fn refresh_database(&self, source: &mut Source<i64>) -> Result<bool, ApiKeysError> {
        let Some(database) = &self.database else {
            return Ok(false);
        };
        let version = database.api_keys_version().await?;
        if source.version == Some(version) {
            return Ok(false);
        }
        source.keys = database.api_keys().await?;
        source.version = Some(version);
        Ok(true)
    }

    /// Returns the keys of the file and the database with their version, if that differs from
    /// `seen`.
    pub(super) async fn stored_since(&self, seen: u64) -> Option<(u64, Vec<ApiKey>)> {
        let sources = self.sources.lock().await;
        if sources.version == seen {
            return None;
        }
        let keys = sources.file.keys.iter();
        #[cfg(feature = "postgres")]
        let keys = keys.chain(&sources.database.keys);
        Some((sources.version, keys.cloned().collect()))
    }

    /// The number of keys, with revoked and expired ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().values().map(Vec::len).sum()
    }

    /// Whether the server has no key, and so refuses every request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds a key by its secret.
    pub(super) fn find(&self, key: &SecretString) -> Option<Arc<ApiKey>> {
        let digest = KeyDigest::from_key(key.expose_secret());
        let index = self.read();
        let found = index.get(&prefix(&digest))?.iter();
        found.fold(None, |found, key| {
            let same = key.digest.as_bytes().ct_eq(digest.as_bytes());
            bool::from(same).then(|| Arc::clone(key)).or(found)
        })
    }

    fn index(&self, more: impl IntoIterator<Item = ApiKey>) {
        let mut index = Index::new();
        for key in self.fixed.iter().cloned().chain(more) {
            index
                .entry(prefix(&key.digest))
                .or_default()
                .push(Arc::new(key));
        }
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
    }

    fn read(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn prefix(digest: &KeyDigest) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    [a, b, c, d, e, f, g, h]
}
