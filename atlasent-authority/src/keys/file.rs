//! API keys in a file, which commands may change while the server runs.

use std::io;
use std::path::{Path, PathBuf};

use atlasent::text::Escaped;
use jiff::Timestamp;

use super::ApiKey;
use crate::json_file::{FileRecord, JsonFile, JsonFileError};
use crate::store::OrgId;

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
    /// The file has the key, under another organization. It stays as it was.
    #[error(
        "the API key `{}` belongs to the organization `{org_id}`, and a key belongs to one: create another key",
        Escaped::new(key_id)
    )]
    OtherOrganization {
        /// The key's id.
        key_id: String,
        /// The organization that the key belongs to.
        org_id: OrgId,
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
    /// [`KeyFileError`] when the file cannot be read or written, or when it has the key under
    /// another organization.
    pub fn add(&self, key: ApiKey) -> Result<(), KeyFileError> {
        let added = self.0.change(|keys| {
            let mut same = keys.iter().filter(|known| known.digest == key.digest);
            if let Some(known) = same.find(|known| known.org_id != key.org_id) {
                let (key_id, org_id) = (known.key_id.clone(), known.org_id.clone());
                return Err(KeyFileError::OtherOrganization { key_id, org_id });
            }
            keys.push(key);
            Ok(())
        });
        added?
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::keys::KeyEnvironment;

    /// A file as releases before organizations wrote it.
    const OLD: &str = r#"[
  {
    "key_id": "key_1",
    "digest": "0000000000000000000000000000000000000000000000000000000000000000",
    "environment": "live",
    "scopes": [
      "evaluate"
    ],
    "rate_limit_per_minute": 1000000,
    "created_at": "2026-01-01T00:00:00Z"
  }
]"#;

    #[test]
    fn a_file_from_before_organizations_holds_keys_of_local_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        fs::write(file.path(), OLD).unwrap();
        let keys = file.load().unwrap();
        assert!(keys[0].org_id.is_local());
        assert!(!file.revoke("key_unknown").unwrap());
        assert_eq!(fs::read_to_string(file.path()).unwrap(), OLD);
    }

    #[test]
    fn a_key_is_of_the_organization_that_its_file_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let [local, mut acme] = [(); 2].map(|()| ApiKey::generate(KeyEnvironment::Test).unwrap().0);
        assert!(local.org_id.is_local());
        acme.org_id = "acme".parse::<OrgId>().unwrap();
        for key in [&local, &acme] {
            file.add(key.clone()).unwrap();
        }
        assert_eq!(file.load().unwrap(), [local, acme]);
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.matches("org_id").count(), 1);
    }

    #[test]
    fn a_key_is_not_added_for_another_organization() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let local = ApiKey::generate(KeyEnvironment::Test).unwrap().0;
        file.add(local.clone()).unwrap();
        let mut acme = local.clone();
        acme.org_id = "acme".parse().unwrap();
        // Another id does not make it another key.
        acme.key_id = "key_2".to_owned();
        assert!(file.revoke(&local.key_id).unwrap());
        let error = file.add(acme).unwrap_err().to_string();
        assert!(
            error.contains(&local.key_id) && error.contains("`local`"),
            "{error}"
        );
        assert_eq!(file.load().unwrap().len(), 1);
        file.add(local).unwrap();
    }

    #[test]
    fn an_organization_whose_id_is_invalid_is_an_error_and_not_local() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        for id in [r#""""#, r#""A""#, r#""../etc""#, "null", "1"] {
            let text = OLD.replace(
                r#""key_id": "key_1","#,
                &format!(r#""key_id": "key_1", "org_id": {id},"#),
            );
            fs::write(file.path(), text).unwrap();
            let error = file.load().unwrap_err().to_string();
            assert!(error.contains("does not hold API keys: "), "{error}");
            assert!(error.contains("line 3"), "{error}");
            if id.starts_with('"') {
                assert!(
                    error.contains("an organization's id has 1 to 64"),
                    "{error}"
                );
            }
        }
    }
}
