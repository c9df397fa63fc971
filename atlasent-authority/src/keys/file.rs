//! API keys in a file, which commands may change while the server runs.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::ApiKey;
use crate::json_file::{FileRecord, JsonFile, JsonFileError};

/// A file of API keys. It holds digests only, and only its owner may read it.
///
/// A change is atomic: the new file is written beside the old one and replaces it. Commands that
/// change the file at the same time wait for each other.
///
/// ```
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment, KeyFile};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("keys.json");
/// let file = KeyFile::new(path);
/// let (key, _secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// file.add(key.clone())?;
/// assert_eq!(file.load()?, [key.clone()]);
/// assert!(file.revoke(&key.key_id)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyFile(pub(crate) JsonFile<ApiKey>);

/// Why a file of API keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the file of API keys `{path}` cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The file does not hold API keys.
    #[error("`{path}` does not hold API keys: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong, and where, without any text of the file.
        why: String,
    },
}

impl FileRecord for ApiKey {}

impl From<JsonFileError> for KeyFileError {
    fn from(error: JsonFileError) -> Self {
        match error {
            JsonFileError::Io { path, source } => Self::Io { path, source },
            JsonFileError::Unreadable { path, why } => Self::Unreadable { path, why },
        }
    }
}

impl KeyFile {
    /// Names a file, which need not exist yet. Its folder has to exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(JsonFile::new(path.into()))
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Reads the keys, the oldest first. A missing file has no keys.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be read, or does not hold keys.
    pub fn load(&self) -> Result<Vec<ApiKey>, KeyFileError> {
        Ok(self.0.load()?)
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be read or written.
    pub fn add(&self, key: ApiKey) -> Result<(), KeyFileError> {
        Ok(self.0.change(|keys| keys.push(key))?)
    }

    /// Revokes a key by its id. Returns `false` if the id is unknown or the key was revoked before.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be read or written.
    pub fn revoke(&self, key_id: &str) -> Result<bool, KeyFileError> {
        let revoked = self.0.change(|keys| {
            let mut active = keys.iter_mut().filter(|key| key.revoked_at.is_none());
            let key = active.find(|key| key.key_id == key_id);
            key.map(|key| key.revoked_at = Some(Timestamp::now()))
                .is_some()
        });
        Ok(revoked?)
    }
}
