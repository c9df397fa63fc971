//! The API keys that the server knows, at hand for every request and kept up to date.

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

/// The API keys that a server takes.
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
    /// What was read of the sources, and held while they are read again.
    sources: Mutex<Sources>,
    index: RwLock<Arc<Index>>,
}

#[derive(Debug, Default)]
struct Sources {
    file: Source<FileVersion>,
    #[cfg(feature = "postgres")]
    database: Source<i64>,
    /// How often a source was read again.
    version: u64,
}

/// The keys of a source, and the version that it had just before they were read: a change in
/// between is found the next time.
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

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// Those of a file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Those of a database.
    #[error("the API keys cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// The keys by the beginning of their digests. Which of them it is, is found out in constant time.
type Index = HashMap<[u8; 8], Vec<Arc<ApiKey>>>;

impl ApiKeys {
    /// A book of these keys, and no others.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        let book = Self {
            fixed: keys.into_iter().collect(),
            ..Self::default()
        };
        book.index(Vec::new());
        book
    }

    /// The keys of a file as well, as it is at any time. They add to fixed keys and those of a
    /// database; a second call replaces the file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or does not hold keys.
    pub async fn with_file(mut self, file: KeyFile) -> Result<Self, ApiKeysError> {
        self.file = Some(file);
        self.sources.get_mut().file = Source::default();
        self.refresh().await?;
        Ok(self)
    }

    /// The keys of a database as well, as they are at any time. They add to fixed keys and those of
    /// a file; a second call replaces the database.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    #[cfg(feature = "postgres")]
    pub async fn with_database(mut self, database: PostgresStore) -> Result<Self, ApiKeysError> {
        self.database = Some(database);
        self.sources.get_mut().database = Source::default();
        self.refresh().await?;
        Ok(self)
    }

    /// Reads the keys again where they have changed. A revoked key is refused after this.
    ///
    /// A source that cannot be read leaves the keys that it had, and keeps no other source from
    /// being read.
    ///
    /// # Errors
    ///
    /// When a source cannot be read.
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

    /// Returns whether the keys of the file were read again.
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

    /// Returns whether the keys of the database were read again.
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

    /// The keys of the file and the database, if they were read again since the version `seen`,
    /// and their version.
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

    /// How many keys there are, whether they are good or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().values().map(Vec::len).sum()
    }

    /// Whether there is no key, so that nobody gets in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that a caller has sent, if it is known.
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
