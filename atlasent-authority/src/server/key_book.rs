//! The API keys that the server knows, at hand for every request and kept up to date.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::keys::{ApiKey, KeyDigest, KeyFile, KeyFileError};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::store::StoreError;

/// The API keys that a server takes.
///
/// ```
/// use atlasent_authority::{ApiKey, Environment};
/// use atlasent_authority::server::KeyBook;
///
/// let (key, _secret) = ApiKey::generate(Environment::Test)?;
/// let keys = KeyBook::of([key]);
/// assert_eq!(keys.len(), 1);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct KeyBook {
    fixed: Vec<ApiKey>,
    file: Option<KeyFile>,
    #[cfg(feature = "postgres")]
    database: Option<PostgresStore>,
    /// What the file looked like when it was last read.
    seen: Mutex<Option<Version>>,
    index: RwLock<Arc<Index>>,
}

type Version = (std::time::SystemTime, u64);

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyBookError {
    /// Those of a file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Those of a database.
    #[error("the API keys cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// The keys by the beginning of their digests. Which of them it is, is found out in constant time.
type Index = HashMap<[u8; 8], Vec<Arc<ApiKey>>>;

impl KeyBook {
    /// These keys, and no others.
    #[must_use]
    pub fn of(keys: impl IntoIterator<Item = ApiKey>) -> Self {
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
    pub async fn with_file(mut self, file: KeyFile) -> Result<Self, KeyBookError> {
        self.file = Some(file);
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
    pub async fn with_database(mut self, database: PostgresStore) -> Result<Self, KeyBookError> {
        self.database = Some(database);
        self.refresh().await?;
        Ok(self)
    }

    /// Reads the keys again. Those that were taken back are good no longer after this.
    ///
    /// # Errors
    ///
    /// When they cannot be read. The keys that are known stay as they are.
    pub async fn refresh(&self) -> Result<(), KeyBookError> {
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            let mut keys = database.api_keys().await?;
            if let Some(file) = &self.file {
                keys.extend(file.load()?);
            }
            self.index(keys);
            return Ok(());
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let version = file.changed_at();
        if version.is_some() && *seen == version {
            return Ok(());
        }
        self.index(file.load()?);
        *seen = version;
        Ok(())
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
        let digest = KeyDigest::of(key.expose_secret());
        let index = self.read();
        let found = index.get(&prefix(&digest))?.iter();
        found.fold(None, |found, key| {
            let same = key.digest.as_bytes().ct_eq(digest.as_bytes());
            bool::from(same).then(|| Arc::clone(key)).or(found)
        })
    }

    fn index(&self, more: Vec<ApiKey>) {
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
