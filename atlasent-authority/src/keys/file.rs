//! API keys in a file beside the store, which commands change while the server runs.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use super::ApiKey;
use crate::files::{Publish, open_or_create, publish, read, read_own};

/// The largest file of keys that is read, in bytes: some 100,000 keys.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The file of API keys. It holds digests, and nobody but its owner may read it.
///
/// A change is whole or not there: it is written beside the file and moved over it. Commands that
/// change it at the same time wait for each other.
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
pub struct KeyFile {
    path: PathBuf,
}

/// What tells one version of the file from another. Each change writes a new file, which has a
/// number of its own even within one tick of the file system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    changed_at: SystemTime,
    length: u64,
    #[cfg(unix)]
    number: u64,
}

/// What is wrong with a file of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It does not hold keys.
    #[error("`{path}` does not hold API keys: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong in it, and where. None of its text.
        why: String,
    },
}

impl KeyFile {
    /// A file that need not be there yet. Its folder has to be.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys, in the order in which they were made. None when the file is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or does not hold keys.
    pub fn load(&self) -> Result<Vec<ApiKey>, KeyFileError> {
        self.parse(read(&self.path, MAX_FILE_BYTES).map(|(text, _)| text))
    }

    fn parse(&self, text: io::Result<Vec<u8>>) -> Result<Vec<ApiKey>, KeyFileError> {
        match text {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| KeyFileError::Unreadable {
                path: self.name(),
                why: error.to_string(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The version of the file, as far as the system tells.
    pub(crate) fn version(&self) -> Option<FileVersion> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some(FileVersion {
            changed_at: metadata.modified().ok()?,
            length: metadata.len(),
            #[cfg(unix)]
            number: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written.
    pub fn add(&self, key: ApiKey) -> Result<(), KeyFileError> {
        self.change(|keys| keys.push(key))
    }

    /// Takes a key back, by its id. Says whether there was one to take back.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written.
    pub fn revoke(&self, key_id: &str) -> Result<bool, KeyFileError> {
        self.change(|keys| {
            let mut good = keys.iter_mut().filter(|key| key.revoked_at.is_none());
            let key = good.find(|key| key.key_id == key_id);
            key.map(|key| key.revoked_at = Some(Timestamp::now()))
                .is_some()
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<ApiKey>) -> T) -> Result<T, KeyFileError> {
        let failed = |error| self.failed(error);
        let beside = self.path.with_added_extension("lock");
        let lock = open_or_create(&beside).map_err(|source| KeyFileError::Io {
            path: beside.display().to_string(),
            source,
        })?;
        lock.lock().map_err(failed)?;
        // What is read here is written again, for the owner of the folder to read.
        let mut keys = self.parse(read_own(&self.path, MAX_FILE_BYTES))?;
        let result = change(&mut keys);
        let text = serde_json::to_vec_pretty(&keys).map_err(|error| failed(error.into()))?;
        publish(&self.path, Publish::Over, |file| file.write_all(&text)).map_err(failed)?;
        Ok(result)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn failed(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Io {
            path: self.name(),
            source,
        }
    }
}
