//! Organizations in a file, which commands may change while the server runs.

use std::io;
use std::path::{Path, PathBuf};

use super::{LOCAL, Organization, change};
use crate::json_file::{JsonFile, JsonFileError};
use crate::store::OrgId;

/// A file of organizations, which only its owner may read.
///
/// A change is atomic: the new file is written beside the old one and replaces it. Commands that
/// change the file at the same time wait for each other.
///
/// ```
/// use atlasent_authority::organizations::{OrgFile, Organization, Suspension};
/// use atlasent_authority::store::OrgId;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("organizations.json");
/// let file = OrgFile::new(path);
/// let acme: OrgId = "acme".parse()?;
/// assert!(file.create(Organization::new(acme.clone()))?);
/// file.change(&acme, |acme| acme.suspended = Some(Suspension::new("unpaid")))?;
/// assert!(file.load()?[0].suspended.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OrgFile(pub(crate) JsonFile<Organization>);

/// Why a file of organizations cannot be used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrgFileError {
    /// The file cannot be read or written.
    #[error("the file of organizations `{path}` cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The file does not hold organizations, or holds one twice, or `local`.
    #[error("`{path}` does not hold organizations: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong, and where, without any text of the file but ids.
        why: String,
    },
    /// `local` cannot be created or changed: every store has it.
    #[error("{LOCAL}")]
    Local,
}

impl From<JsonFileError> for OrgFileError {
    fn from(error: JsonFileError) -> Self {
        match error {
            JsonFileError::Io { path, source } => Self::Io { path, source },
            JsonFileError::Unreadable { path, why } => Self::Unreadable { path, why },
        }
    }
}

impl OrgFile {
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

    /// Reads the organizations, the oldest first. A missing file has no organizations.
    ///
    /// # Errors
    ///
    /// [`OrgFileError`] when the file cannot be read, or does not hold organizations.
    pub fn load(&self) -> Result<Vec<Organization>, OrgFileError> {
        Ok(self.0.load()?)
    }

    /// Adds an organization. Returns `false`, and changes nothing, if its id exists.
    ///
    /// # Errors
    ///
    /// [`OrgFileError`] when the organization is `local`, or the file cannot be read or written.
    pub fn create(&self, organization: Organization) -> Result<bool, OrgFileError> {
        if organization.id.is_local() {
            return Err(OrgFileError::Local);
        }
        let created = self.0.change(|organizations| {
            let exists = organizations.iter().any(|one| one.id == organization.id);
            if !exists {
                organizations.push(organization);
            }
            !exists
        });
        Ok(created?)
    }

    /// Changes an organization, whose id stays as it is. Returns what `edit` returns; `None` if the
    /// id is unknown.
    ///
    /// # Errors
    ///
    /// [`OrgFileError`] when the organization is `local`, or the file cannot be read or written.
    pub fn change<T>(
        &self,
        id: &OrgId,
        edit: impl FnOnce(&mut Organization) -> T,
    ) -> Result<Option<T>, OrgFileError> {
        if id.is_local() {
            return Err(OrgFileError::Local);
        }
        let changed = self.0.change(|organizations| {
            let organization = organizations.iter_mut().find(|one| one.id == *id);
            organization.map(|organization| change(organization, edit))
        });
        Ok(changed?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::organizations::Suspension;

    fn file() -> (TempDir, OrgFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = OrgFile::new(folder.path().join("organizations.json"));
        (folder, file)
    }

    fn organization(id: &str) -> Organization {
        Organization::new(id.parse().unwrap())
    }

    #[test]
    fn an_organization_is_created_once_and_changed_in_place() {
        let (_folder, file) = file();
        assert!(file.load().unwrap().is_empty());
        let [b, a] = ["b", "a"].map(organization);
        assert!(file.create(b.clone()).unwrap());
        assert!(file.create(a.clone()).unwrap());
        let again = Organization {
            name: Some("again".to_owned()),
            ..b.clone()
        };
        assert!(!file.create(again).unwrap());
        assert_eq!(file.load().unwrap(), [b.clone(), a.clone()]);

        let renamed = file.change(&a.id, |one| one.name.replace("A".to_owned()));
        assert_eq!(renamed.unwrap(), Some(None));
        let unknown = "c".parse().unwrap();
        assert_eq!(file.change(&unknown, |_| ()).unwrap(), None);
        let loaded = file.load().unwrap();
        assert_eq!(loaded[0], b);
        assert_eq!(loaded[1].name.as_deref(), Some("A"));
    }

    #[test]
    fn a_change_cannot_give_an_organization_the_id_of_another() {
        let (_folder, file) = file();
        let acme = organization("acme");
        file.create(acme.clone()).unwrap();
        file.change(&acme.id, |one| one.id = OrgId::local())
            .unwrap();
        assert_eq!(file.load().unwrap(), [acme]);
    }

    #[test]
    fn local_is_neither_created_nor_changed() {
        let (_folder, file) = file();
        let local = Organization::new(OrgId::local());
        let suspend = |one: &mut Organization| one.suspended = Some(Suspension::new("r"));
        for error in [
            file.create(local).unwrap_err(),
            file.change(&OrgId::local(), suspend).unwrap_err(),
        ] {
            let text = error.to_string();
            assert_eq!(text, "`local` is the organization that every store has");
        }
        assert!(!file.path().exists());
    }

    #[test]
    fn a_file_that_people_broke_is_an_error_and_stays_as_it_is() {
        let (_folder, file) = file();
        let record = |id: &str| format!(r#"{{"id":"{id}","created_at":"2026-01-01T00:00:00Z"}}"#);
        let acme = record("acme");
        for (text, why) in [
            (format!("[{acme},{acme}]"), "`acme` is listed twice"),
            (format!("[{}]", record("local")), "`local` is the organ"),
            (format!("[{}]", record("ACME")), "has 1 to 64 of the"),
            ("{}".to_owned(), "line 1"),
        ] {
            fs::write(file.path(), &text).unwrap();
            let error = file.load().unwrap_err().to_string();
            assert!(error.contains("does not hold organizations: "), "{error}");
            assert!(error.contains(why), "{error}");
            assert!(file.create(organization("b")).is_err());
            assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
        }
    }

    #[test]
    fn many_who_create_organizations_lose_none_and_create_each_once() {
        let (_folder, file) = file();
        let created: usize = std::thread::scope(|scope| {
            let threads = (0..8).map(|number| {
                let file = &file;
                scope.spawn(move || {
                    let ids = (0..4).map(|n| format!("org-{}", (number + n) % 8));
                    ids.filter(|id| file.create(organization(id)).unwrap())
                        .count()
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(created, 8);
        assert_eq!(file.load().unwrap().len(), 8);
    }
}
