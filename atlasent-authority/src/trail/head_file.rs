//! The newest head that a data directory has seen, in a small file beside the store. It reveals a
//! store that was replaced, emptied or restored to an older state.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::{fs, mem};

use serde::{Deserialize, Serialize};

#[cfg(feature = "server")]
use crate::files::create_private;
use crate::files::{Publish, publish};
use crate::store::{Store, StoreError};
use crate::trail::chain::ChainHead;
use crate::trail::complete::event_at;

/// The largest head file, in bytes.
const LONGEST: u64 = 16 * 1024;

/// A file that holds the newest known head of a store's chain.
///
/// The file is written from time to time, so the store may be ahead of it. A store that is behind
/// or different was replaced.
///
/// ```
/// use atlasent_authority::trail::HeadFile;
/// use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
///
/// # futures_executor::block_on(async {
/// let folder = tempfile::tempdir()?;
/// let file = HeadFile::new(folder.path().join("head.json"));
/// let policies = Policies::parse("permit (principal, action, resource);")?;
/// let authority = LocalAuthority::in_memory(policies)?;
/// file.save(authority.store()).await?;
///
/// assert!(file.check(authority.store()).await.is_ok());
/// assert!(file.check(&MemoryStore::new()).await.is_err(), "another chain");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct HeadFile {
    path: PathBuf,
}

/// The head in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedHead {
    org_id: String,
    sequence: u64,
    hash: String,
}

/// Why a store does not continue the head in the file, or why they cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadFileError {
    /// The file cannot be read or written.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file does not hold a head.
    #[error("`{path}` does not hold the head of a chain: restore it from a backup")]
    Unreadable {
        /// The file.
        path: String,
    },
    /// The store's chain ends before the head in the file.
    #[error(
        "the store's chain ends at event {head}, but `{path}` records event {seen}: events are missing, or the store is an older one"
    )]
    Behind {
        /// The file.
        path: String,
        /// The sequence number of the head in the file.
        seen: u64,
        /// The sequence number of the store's head.
        head: u64,
    },
    /// The store's chain has another event at the head's place, or another organization.
    #[error(
        "the store's chain is not the one that `{path}` records: they differ at event {sequence}"
    )]
    Differs {
        /// The file.
        path: String,
        /// The sequence number of the head in the file.
        sequence: u64,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HeadFileError {
    /// Whether the store's chain is not the one in the file, or the file does not tell: what a
    /// restored backup brings about.
    #[must_use]
    pub fn is_about_the_chain(&self) -> bool {
        matches!(
            self,
            Self::Behind { .. } | Self::Differs { .. } | Self::Unreadable { .. }
        )
    }
}

impl HeadFile {
    /// Names the file at a path. It need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Creates the folder of the file for its owner alone, if it is missing.
    #[cfg(feature = "server")]
    pub(crate) fn create_folder(&self) -> Result<(), HeadFileError> {
        match self.path.parent() {
            Some(folder) => create_private(folder).map_err(|error| self.failed(error)),
            None => Ok(()),
        }
    }

    /// Returns whether a head was ever saved.
    #[must_use]
    pub fn exists(&self) -> bool {
        // A file that cannot be inspected counts as existing.
        self.path.try_exists().unwrap_or(true)
    }

    /// Compares a store with the head in the file. Without a file, every store passes.
    ///
    /// # Errors
    ///
    /// [`HeadFileError`] when the store is behind the head or has another chain, or when the file
    /// or the store cannot be read.
    pub async fn check<S: Store>(&self, store: &S) -> Result<(), HeadFileError> {
        match self.load()? {
            Some(seen) => self.compare(&seen, store).await.map(drop),
            None => Ok(()),
        }
    }

    /// Saves a store's head durably, if the store continues the head in the file.
    ///
    /// # Errors
    ///
    /// [`HeadFileError`], as [`check`](Self::check); the file is unchanged then.
    pub async fn save<S: Store>(&self, store: &S) -> Result<(), HeadFileError> {
        let seen = self.load()?;
        let head = match &seen {
            Some(seen) => self.compare(seen, store).await?,
            None => store.status().await?.head,
        };
        let now = SavedHead {
            org_id: (*head.org_id).to_owned(),
            sequence: head.sequence,
            hash: (*head.hash).to_owned(),
        };
        if seen.as_ref() == Some(&now) {
            return Ok(());
        }
        let text = serde_json::to_vec(&now).map_err(|error| self.failed(error.into()))?;
        publish(&self.path, Publish::Over, |file| file.write_all(&text))
            .map_err(|error| self.failed(error))
    }

    /// Renames the file to one that contains the head's sequence number, so that another store is
    /// accepted from then on. Returns the new path, or `None` if there is no file.
    ///
    /// # Errors
    ///
    /// [`HeadFileError::Io`] when the file cannot be renamed.
    pub fn set_aside(&self) -> Result<Option<PathBuf>, HeadFileError> {
        if !self.exists() {
            return Ok(None);
        }
        let sequence = match self.load() {
            Ok(seen) => seen.map_or(0, |seen| seen.sequence),
            // A file that cannot be read is renamed, too.
            Err(HeadFileError::Unreadable { .. }) => 0,
            Err(error) => return Err(error),
        };
        for number in 0..1_000_u32 {
            let aside = self
                .path
                .with_extension(format!("before-{sequence}.{number}.json"));
            match fs::hard_link(&self.path, &aside) {
                Ok(()) => {
                    fs::remove_file(&self.path).map_err(|error| self.failed(error))?;
                    return Ok(Some(aside));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Err(self.failed(ErrorKind::AlreadyExists.into()))
    }

    /// Returns the store's head, if it continues the head in the file.
    async fn compare<S: Store>(
        &self,
        seen: &SavedHead,
        store: &S,
    ) -> Result<ChainHead, HeadFileError> {
        let status = store.status().await?;
        let head = status.head;
        let differs = || HeadFileError::Differs {
            path: self.path.display().to_string(),
            sequence: seen.sequence,
        };
        if head.sequence < seen.sequence {
            return Err(HeadFileError::Behind {
                path: self.path.display().to_string(),
                seen: seen.sequence,
                head: head.sequence,
            });
        }
        // The organization is fixed by the first event.
        if seen.sequence > 0 && *head.org_id != *seen.org_id {
            return Err(differs());
        }
        let hash = if head.sequence == seen.sequence {
            Some(head.hash.clone())
        } else if seen.sequence > status.dropped {
            let event = event_at(store, seen.sequence).await?;
            Some(event.map(|event| event.hash.clone()).unwrap_or_default())
        } else if seen.sequence == status.dropped {
            let next = event_at(store, seen.sequence + 1).await?;
            Some(
                next.map(|next| next.previous_hash.clone())
                    .unwrap_or_default(),
            )
        } else {
            // The event was archived.
            None
        };
        match hash {
            Some(hash) if *hash != *seen.hash => Err(differs()),
            _ => Ok(head),
        }
    }

    fn load(&self) -> Result<Option<SavedHead>, HeadFileError> {
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let seen = serde_json::from_slice(&text).map_err(|_| HeadFileError::Unreadable {
            path: self.path.display().to_string(),
        })?;
        Ok(Some(seen))
    }

    fn failed(&self, source: io::Error) -> HeadFileError {
        HeadFileError::Io {
            path: self.path.display().to_string(),
            source,
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut file = io::Read::take(fs::File::open(path)?, LONGEST + 1);
    io::Read::read_to_end(&mut file, &mut text)?;
    if text.len() as u64 > LONGEST {
        // A longer file does not hold a head.
        mem::take(&mut text);
    }
    Ok(text)
}
