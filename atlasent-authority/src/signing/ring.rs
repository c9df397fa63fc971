//! The active signing key, and the public halves of its predecessors, which old exports need to
//! verify.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use atlasent::wire::PublicKey;
use jiff::Timestamp;

use super::ExportSigningKey;
use crate::files::{Publish, publish, read, read_own};
use crate::trail::chain::format_time;

const ACTIVE: &str = "signing-key.pem";
const PUBLIC: &str = "public-keys.json";

/// The largest file of a private key, in bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;
/// The largest file of public keys, in bytes.
const MAX_PUBLIC_BYTES: u64 = 16 * 1024 * 1024;

/// The active signing key, and the public halves of all keys that ever signed.
///
/// ```
/// use atlasent_authority::signing::KeyRing;
///
/// let folder = tempfile::tempdir()?;
/// let ring = KeyRing::open(folder.path())?; // makes a key the first time
/// let again = KeyRing::open(folder.path())?;
/// assert_eq!(again.active().key_id(), ring.active().key_id());
///
/// let rotated = ring.rotate()?;
/// assert_ne!(rotated.active().key_id(), again.active().key_id());
/// assert_eq!(rotated.public_keys().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KeyRing {
    folder: Option<PathBuf>,
    active: ExportSigningKey,
    public: Vec<PublicKey>,
}

/// Why a signing key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportSigningKeyError {
    /// A file cannot be read or written.
    #[error("`{path}` cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A private key can be read by users other than its owner.
    #[error("`{path}` can be read by others than its owner: run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: String,
    },
    /// The content of a file is invalid.
    #[error("`{path}` does not hold {what}")]
    Unreadable {
        /// The file.
        path: String,
        /// The expected content.
        what: &'static str,
    },
    /// The system has no randomness.
    #[error("a key cannot be generated: {0}")]
    NoRandomness(#[from] atlasent::Error),
}

impl KeyRing {
    /// Opens the ring of an existing folder, and generates a key if the folder has none. Two
    /// processes that do so at the same time get the same key.
    ///
    /// # Errors
    ///
    /// [`ExportSigningKeyError`]. A key that others can read is not used.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ExportSigningKeyError> {
        let folder = folder.into();
        let path = folder.join(ACTIVE);
        let active = match read_key(&path)? {
            Some(key) => key,
            None => {
                let key = ExportSigningKey::generate()?;
                match publish(&path, Publish::Unless, |file| {
                    file.write_all(key.to_pem().as_bytes())
                }) {
                    Ok(()) => key,
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        read_key(&path)?.ok_or_else(|| failed(&path, ErrorKind::NotFound.into()))?
                    }
                    Err(error) => return Err(failed(&path, error)),
                }
            }
        };
        Self::with(Some(folder), active, Vec::new())
    }

    /// Generates a ring of one key that is not saved.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn in_memory() -> Result<Self, ExportSigningKeyError> {
        Self::with(None, ExportSigningKey::generate()?, Vec::new())
    }

    /// Opens a ring whose active key is a file (PEM, PKCS#8) that is managed elsewhere. `folder`
    /// holds the public halves of the former keys.
    ///
    /// # Errors
    ///
    /// [`ExportSigningKeyError`]. A key that others can read is not used.
    pub fn from_key_file(
        key: &Path,
        folder: impl Into<PathBuf>,
    ) -> Result<Self, ExportSigningKeyError> {
        let active = read_key(key)?.ok_or_else(|| failed(key, ErrorKind::NotFound.into()))?;
        Self::with(Some(folder.into()), active, Vec::new())
    }

    /// Opens the ring of a folder without creating or changing any file. The active key is the
    /// folder's, or the one in the file `active_file`. Returns `None` when the folder has no key
    /// and no file is given.
    ///
    /// ```
    /// use atlasent_authority::signing::KeyRing;
    ///
    /// let folder = tempfile::tempdir()?;
    /// assert!(KeyRing::open_existing(folder.path(), None)?.is_none());
    /// let ring = KeyRing::open(folder.path())?;
    /// let again = KeyRing::open_existing(folder.path(), None)?.unwrap();
    /// assert_eq!(again.public_keys(), ring.public_keys());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ExportSigningKeyError`], also when the file `active_file` does not exist. A key that
    /// others can read is not used.
    pub fn open_existing(
        folder: &Path,
        active_file: Option<&Path>,
    ) -> Result<Option<Self>, ExportSigningKeyError> {
        let active = match active_file {
            Some(path) => {
                Some(read_key(path)?.ok_or_else(|| failed(path, ErrorKind::NotFound.into()))?)
            }
            None => read_key(&folder.join(ACTIVE))?,
        };
        let known = read_public(&folder.join(PUBLIC))?;
        active
            .map(|active| Self::with(None, active, known))
            .transpose()
    }

    /// Returns the public keys of a folder, the active one last, without creating or changing
    /// anything. The active key is the folder's, or the one in the file `active_file`. Returns an
    /// empty list when neither exists.
    ///
    /// ```
    /// use atlasent_authority::signing::KeyRing;
    ///
    /// let folder = tempfile::tempdir()?;
    /// assert!(KeyRing::list(folder.path(), None)?.is_empty());
    /// let ring = KeyRing::open(folder.path())?;
    /// assert_eq!(KeyRing::list(folder.path(), None)?, ring.public_keys());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ExportSigningKeyError`], also when the file `active_file` does not exist.
    pub fn list(
        folder: &Path,
        active_file: Option<&Path>,
    ) -> Result<Vec<PublicKey>, ExportSigningKeyError> {
        match Self::open_existing(folder, active_file)? {
            Some(ring) => Ok(ring.public),
            None => read_public(&folder.join(PUBLIC)),
        }
    }

    /// Generates a new active key, and retires the former one.
    ///
    /// # Errors
    ///
    /// [`ExportSigningKeyError`]; the former key stays active then.
    pub fn rotate(self) -> Result<Self, ExportSigningKeyError> {
        let key = ExportSigningKey::generate()?;
        if let Some(folder) = &self.folder {
            let path = folder.join(ACTIVE);
            publish(&path, Publish::Over, |file| {
                file.write_all(key.to_pem().as_bytes())
            })
            .map_err(|error| failed(&path, error))?;
        }
        Self::with(self.folder, key, self.public)
    }

    /// Returns the active key, which signs.
    #[must_use]
    pub fn active(&self) -> &ExportSigningKey {
        &self.active
    }

    /// Returns the public halves of all keys, the active one last.
    #[must_use]
    pub fn public_keys(&self) -> &[PublicKey] {
        &self.public
    }

    /// Creates a ring with this active key. The public keys of the folder take precedence over
    /// `known`.
    fn with(
        folder: Option<PathBuf>,
        active: ExportSigningKey,
        known: Vec<PublicKey>,
    ) -> Result<Self, ExportSigningKeyError> {
        let path = folder.as_ref().map(|folder| folder.join(PUBLIC));
        let in_folder = path.as_deref().map(read_public).transpose()?;
        let mut public = in_folder.unwrap_or(known);
        let known = public.iter().position(|key| key.key_id == active.id);
        let created_at = known.and_then(|at| public.remove(at).created_at);
        let mut key = PublicKey::new(&active.id, &active.public_pem);
        key.status = Some("active".to_owned());
        key.created_at = created_at.or_else(|| Some(format_time(Timestamp::now())));
        for key in &mut public {
            key.status = Some("retired".to_owned());
        }
        public.push(key);
        if let Some(path) = &path {
            let text = serde_json::to_vec_pretty(&public);
            let text = text.map_err(|error| failed(path, error.into()))?;
            publish(path, Publish::Over, |file| file.write_all(&text))
                .map_err(|error| failed(path, error))?;
        }
        Ok(Self {
            folder,
            active,
            public,
        })
    }
}

/// Reads the key in a file. Returns `None` when the file does not exist.
fn read_key(path: &Path) -> Result<Option<ExportSigningKey>, ExportSigningKeyError> {
    let name = || path.display().to_string();
    let (pem, metadata) = match read(path, MAX_KEY_BYTES) {
        Ok((pem, metadata)) => (zeroize::Zeroizing::new(pem), metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // PostgreSQL's rule for its keys: a key that root owns may be readable by its group.
        let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
        if metadata.mode() & forbidden != 0 {
            return Err(ExportSigningKeyError::Exposed { path: name() });
        }
    }
    let pem = std::str::from_utf8(&pem).ok();
    let key = pem.and_then(ExportSigningKey::from_pem).ok_or_else(|| {
        ExportSigningKeyError::Unreadable {
            path: name(),
            what: "an Ed25519 private key in PEM (PKCS#8)",
        }
    })?;
    Ok(Some(key))
}

fn read_public(path: &Path) -> Result<Vec<PublicKey>, ExportSigningKeyError> {
    // The file is written again, so it must belong to the folder's owner.
    match read_own(path, MAX_PUBLIC_BYTES) {
        Ok(text) => parse_public(&text).ok_or_else(|| ExportSigningKeyError::Unreadable {
            path: path.display().to_string(),
            what: "the public halves of signing keys",
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(path, error)),
    }
}

/// Parses a file of public keys. Each key has a status and a time.
fn parse_public(text: &[u8]) -> Option<Vec<PublicKey>> {
    let keys: Vec<PublicKey> = serde_json::from_slice(text).ok()?;
    let is_whole = |key: &PublicKey| key.status.is_some() && key.created_at.is_some();
    keys.iter().all(is_whole).then_some(keys)
}

fn failed(path: &Path, source: io::Error) -> ExportSigningKeyError {
    ExportSigningKeyError::Io {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        KeyRing::open(folder.path()).unwrap();
        let path = folder.path().join(ACTIVE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for mode in [0o644, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyRing::open(folder.path()).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn opening_an_existing_ring_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            KeyRing::open_existing(folder.path(), None)
                .unwrap()
                .is_none()
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let key = KeyRing::open(elsewhere.path()).unwrap();
        let file = elsewhere.path().join(ACTIVE);
        let ring = KeyRing::open_existing(folder.path(), Some(&file)).unwrap();
        assert_eq!(ring.unwrap().active().key_id(), key.active().key_id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let missing = folder.path().join("missing.pem");
        assert!(KeyRing::open_existing(folder.path(), Some(&missing)).is_err());
    }

    #[test]
    fn those_who_start_at_the_same_time_get_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KeyRing::open(folder.path()).unwrap().active.id;
        let ids = std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            opening
                .into_iter()
                .map(|id| id.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ACTIVE);
        publish(&path, Publish::Over, |file| file.write_all(b"hunter2")).unwrap();
        let error = KeyRing::open(folder.path()).unwrap_err();
        assert!(matches!(error, ExportSigningKeyError::Unreadable { .. }));
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_former_key_stays_without_a_folder_too() {
        let first = KeyRing::in_memory().unwrap();
        let id = first.active.id.clone();
        let keys = first.rotate().unwrap().rotate().unwrap().public;
        assert_eq!(keys.len(), 3);
        assert_eq!(
            (&keys[0].key_id, keys[0].status.as_deref()),
            (&id, Some("retired"))
        );
    }

    #[test]
    fn a_former_key_is_retired_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = KeyRing::open(folder.path()).unwrap();
        let (id, made) = (first.active.id.clone(), first.public[0].created_at.clone());
        let rotated = first.rotate().unwrap();
        let again = KeyRing::open(folder.path()).unwrap();
        assert_eq!(again.public_keys(), rotated.public_keys());
        assert_eq!(again.public[0].key_id, id);
        assert_eq!(
            (
                again.public[0].status.as_deref(),
                &again.public[0].created_at
            ),
            (Some("retired"), &made)
        );
        assert_eq!(again.public[1].status.as_deref(), Some("active"));
    }
}
