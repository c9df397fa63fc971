//! API keys in a file, which commands may change while the server runs.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use atlasent::text::json_error;
use jiff::Timestamp;

use super::ApiKey;
use crate::files::{Publish, open_or_create, publish, read, read_own};

/// The largest file of keys, in bytes: enough for about 100,000 keys.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

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
pub struct KeyFile {
    path: PathBuf,
}

/// The version of a file. Each change writes a new file, whose inode number differs even within one
/// tick of the file system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    changed_at: SystemTime,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

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

impl KeyFile {
    /// Names a file, which need not exist yet. Its folder has to exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the keys, the oldest first. A missing file has no keys.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be read, or does not hold keys.
    pub fn load(&self) -> Result<Vec<ApiKey>, KeyFileError> {
        self.parse(read(&self.path, MAX_FILE_BYTES).map(|(text, _)| text))
    }

    fn parse(&self, text: io::Result<Vec<u8>>) -> Result<Vec<ApiKey>, KeyFileError> {
        match text {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| KeyFileError::Unreadable {
                path: self.display(),
                why: json_error(&error),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.io_error(error)),
        }
    }

    /// Returns the version of the file; `None` if the file is missing, or the system does not tell.
    pub(crate) fn version(&self) -> Option<FileVersion> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some(FileVersion {
            changed_at: metadata.modified().ok()?,
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be read or written.
    pub fn add(&self, key: ApiKey) -> Result<(), KeyFileError> {
        self.change(|keys| keys.push(key))
    }

    /// Revokes a key by its id. Returns `false` if the id is unknown or the key was revoked before.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be read or written.
    pub fn revoke(&self, key_id: &str) -> Result<bool, KeyFileError> {
        self.change(|keys| {
            let mut active = keys.iter_mut().filter(|key| key.revoked_at.is_none());
            let key = active.find(|key| key.key_id == key_id);
            key.map(|key| key.revoked_at = Some(Timestamp::now()))
                .is_some()
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<ApiKey>) -> T) -> Result<T, KeyFileError> {
        let failed = |error| self.io_error(error);
        let beside = self.path.with_added_extension("lock");
        let lock = open_or_create(&beside).map_err(|source| KeyFileError::Io {
            path: beside.display().to_string(),
            source,
        })?;
        lock.lock().map_err(failed)?;
        // Refuses a foreign file: its text is written again, for the owner of the folder to read.
        let mut keys = self.parse(read_own(&self.path, MAX_FILE_BYTES))?;
        let result = change(&mut keys);
        let text = serde_json::to_vec_pretty(&keys).map_err(|error| failed(error.into()))?;
        publish(&self.path, Publish::Over, |file| file.write_all(&text)).map_err(failed)?;
        Ok(result)
    }

    fn display(&self) -> String {
        self.path.display().to_string()
    }

    fn io_error(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Io {
            path: self.display(),
            source,
        }
    }
}
