//! A private file with a JSON array of records, which commands may change while a server reads it.
//! `KeyFile` and `OrgFile` are such files.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use atlasent::text::json_error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{Publish, open_or_create, publish, read, read_own};

/// The largest file, in bytes: enough for about 100,000 records.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A record of a file.
pub(crate) trait FileRecord: Serialize + DeserializeOwned {
    /// Checks the records of a file together.
    ///
    /// # Errors
    ///
    /// What is wrong with them, without any text of the file.
    fn check(_records: &[Self]) -> Result<(), String> {
        Ok(())
    }
}

/// A file of records. A change is atomic: the new file is written beside the old one and replaces
/// it. Changes at the same time, also of different processes, wait for each other.
#[derive(Debug)]
pub(crate) struct JsonFile<T> {
    path: PathBuf,
    records: PhantomData<fn() -> T>,
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

/// Why a file cannot be used. The caller knows what its records are called.
#[derive(Debug)]
pub(crate) enum JsonFileError {
    /// The file cannot be read or written.
    Io { path: String, source: io::Error },
    /// The file does not hold the records. `why` has no text of the file.
    Unreadable { path: String, why: String },
}

impl<T> Clone for JsonFile<T> {
    fn clone(&self) -> Self {
        Self::new(self.path.clone())
    }
}

impl<T> JsonFile<T> {
    /// Names a file, which need not exist yet. Its folder has to exist.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            records: PhantomData,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
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

    /// Adds the file's path to an error of the system.
    pub(crate) fn io_error(&self, source: io::Error) -> JsonFileError {
        JsonFileError::Io {
            path: self.display(),
            source,
        }
    }

    fn display(&self) -> String {
        self.path.display().to_string()
    }
}

impl<T: FileRecord> JsonFile<T> {
    /// Reads the records, the oldest first. A missing file has no records.
    pub(crate) fn load(&self) -> Result<Vec<T>, JsonFileError> {
        self.parse(read(&self.path, MAX_FILE_BYTES).map(|(text, _)| text))
    }

    fn parse(&self, text: io::Result<Vec<u8>>) -> Result<Vec<T>, JsonFileError> {
        let unreadable = |why| JsonFileError::Unreadable {
            path: self.display(),
            why,
        };
        match text {
            Ok(text) => {
                let records: Vec<T> = serde_json::from_slice(&text)
                    .map_err(|error| unreadable(json_error(&error)))?;
                T::check(&records).map_err(unreadable)?;
                Ok(records)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.io_error(error)),
        }
    }

    /// Reads the records, changes them and writes the file again.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&mut Vec<T>) -> R,
    ) -> Result<R, JsonFileError> {
        let failed = |error| self.io_error(error);
        let beside = self.path.with_added_extension("lock");
        let lock = open_or_create(&beside).map_err(|source| JsonFileError::Io {
            path: beside.display().to_string(),
            source,
        })?;
        lock.lock().map_err(failed)?;
        // Refuses a foreign file: its text is written again, for the owner of the folder to read.
        let mut records = self.parse(read_own(&self.path, MAX_FILE_BYTES))?;
        let result = change(&mut records);
        let text = serde_json::to_vec_pretty(&records).map_err(|error| failed(error.into()))?;
        publish(&self.path, Publish::Over, |file| file.write_all(&text)).map_err(failed)?;
        Ok(result)
    }
}
