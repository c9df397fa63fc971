//! The organizations that a server knows, indexed by their ids.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::organizations::{OrgFile, OrgFileError, Organization};
use crate::server::sources::{SourceError, SourceRecord, Sources};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::store::{OrgId, StoreError};

/// The organizations that a server knows: `local`, fixed ones, and those of a file and of a
/// database.
///
/// `local` is the organization that every store has. It is always known, has no limits and is never
/// suspended. A record of it is ignored.
///
/// ```
/// use atlasent_authority::organizations::Organization;
/// use atlasent_authority::server::OrgRegistry;
/// use atlasent_authority::store::OrgId;
///
/// let registry = OrgRegistry::new([Organization::new("acme".parse()?)]);
/// assert!(registry.get(&"acme".parse()?).is_some());
/// assert!(registry.get(&OrgId::local()).is_some());
/// assert!(registry.get(&"other".parse()?).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OrgRegistry {
    local: Arc<Organization>,
    fixed: Vec<Organization>,
    sources: Sources<Organization>,
    index: RwLock<Arc<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    /// The number of times that the index was built again.
    version: u64,
    by_id: BTreeMap<OrgId, Arc<Organization>>,
}

/// Why the registry of organizations cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrgRegistryError {
    /// The file of organizations cannot be read.
    #[error(transparent)]
    File(#[from] OrgFileError),
    /// The organizations of the database cannot be read.
    #[error("the organizations of the database cannot be read: {0}")]
    Store(#[from] StoreError),
}

impl From<SourceError> for OrgRegistryError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::File(error) => Self::File(error.into()),
            SourceError::Store(error) => Self::Store(error),
        }
    }
}

impl SourceRecord for Organization {
    const THREAD: &'static str = "atlasent-organizations";

    #[cfg(feature = "postgres")]
    async fn version_in(database: &PostgresStore) -> Result<i64, StoreError> {
        database.organizations_version().await
    }

    #[cfg(feature = "postgres")]
    async fn all_in(database: &PostgresStore) -> Result<Vec<Self>, StoreError> {
        database.organization_records().await
    }
}

impl Default for OrgRegistry {
    /// Knows `local` alone.
    fn default() -> Self {
        Self::new([])
    }
}

impl OrgRegistry {
    /// Knows `local` and these organizations.
    #[must_use]
    pub fn new(organizations: impl IntoIterator<Item = Organization>) -> Self {
        let registry = Self {
            local: Arc::new(Organization::new(OrgId::local())),
            fixed: organizations.into_iter().collect(),
            sources: Sources::default(),
            index: RwLock::default(),
        };
        registry.index(Vec::new());
        registry
    }

    /// Also knows the organizations of a file, which the server reads again when it changes. A
    /// second call replaces the file.
    ///
    /// # Errors
    ///
    /// [`OrgRegistryError`] when the file cannot be read, or does not hold organizations.
    pub async fn with_file(mut self, file: OrgFile) -> Result<Self, OrgRegistryError> {
        self.sources.set_file(file.0);
        self.refresh().await?;
        Ok(self)
    }

    /// Also knows the organizations of a database, which the server reads again when they change. A
    /// second call replaces the database.
    ///
    /// # Errors
    ///
    /// [`OrgRegistryError`] when the organizations cannot be read.
    #[cfg(feature = "postgres")]
    pub async fn with_database(
        mut self,
        database: PostgresStore,
    ) -> Result<Self, OrgRegistryError> {
        self.sources.set_database(database);
        self.refresh().await?;
        Ok(self)
    }

    /// Reads the organizations of each source that has changed.
    ///
    /// If a source cannot be read, its former organizations stay, and the other source is read all
    /// the same.
    ///
    /// # Errors
    ///
    /// [`OrgRegistryError`] when a source cannot be read.
    pub async fn refresh(&self) -> Result<(), OrgRegistryError> {
        let index = |organizations| self.index(organizations);
        Ok(self.sources.refresh(index).await?)
    }

    /// Returns an organization; `None` if it is unknown. `local` is always known.
    #[must_use]
    pub fn get(&self, id: &OrgId) -> Option<Arc<Organization>> {
        match id.is_local() {
            true => Some(Arc::clone(&self.local)),
            false => self.read().by_id.get(id).cloned(),
        }
    }

    /// Returns all organizations but `local`, sorted by their ids.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Organization>> {
        self.read().by_id.values().cloned().collect()
    }

    /// The number of organizations beside `local`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().by_id.len()
    }

    /// Whether there is no organization beside `local`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a number that grows whenever organizations are read again. Read it before the
    /// organizations, so that a change in between is found the next time.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.read().version
    }

    /// Of two records of an organization, the file's replaces the fixed one, and the database's
    /// both.
    fn index(&self, stored: Vec<Organization>) {
        let organizations = self.fixed.iter().cloned().chain(stored);
        let organizations = organizations.filter(|one| !one.id.is_local());
        let by_id = organizations
            .map(|one| (one.id.clone(), Arc::new(one)))
            .collect();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let version = index.version + 1;
        *index = Arc::new(Index { version, by_id });
    }

    fn read(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::organizations::Suspension;

    fn organization(id: &str) -> Organization {
        Organization::new(id.parse().unwrap())
    }

    fn ids(registry: &OrgRegistry) -> Vec<String> {
        let all = registry.all().into_iter();
        all.map(|one| one.id.to_string()).collect()
    }

    #[test]
    fn local_is_always_known_and_never_suspended_or_listed() {
        let mut local = Organization::new(OrgId::local());
        local.suspended = Some(Suspension::new("r"));
        for registry in [OrgRegistry::default(), OrgRegistry::new([local])] {
            let local = registry.get(&OrgId::local()).unwrap();
            assert_eq!((&*local.id.to_string(), &local.suspended), ("local", &None));
            assert!(registry.all().is_empty());
        }
    }

    #[test]
    fn a_change_of_the_file_is_seen_and_changes_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = OrgFile::new(folder.path().join("organizations.json"));
        let registry = OrgRegistry::new([organization("fixed")]);
        let registry = block_on(registry.with_file(file.clone())).unwrap();
        assert_eq!(ids(&registry), ["fixed"]);

        let before = registry.version();
        file.create(organization("z")).unwrap();
        file.create(organization("a")).unwrap();
        block_on(registry.refresh()).unwrap();
        assert_eq!(ids(&registry), ["a", "fixed", "z"]);
        let changed = registry.version();
        assert!(changed > before);

        block_on(registry.refresh()).unwrap();
        assert_eq!(registry.version(), changed);

        let suspend = |one: &mut Organization| one.suspended = Some(Suspension::new("r"));
        file.change(&"a".parse().unwrap(), suspend).unwrap();
        block_on(registry.refresh()).unwrap();
        let suspended = registry.get(&"a".parse().unwrap()).unwrap();
        assert!(suspended.suspended.is_some());
        assert!(registry.get(&"b".parse().unwrap()).is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_leaves_what_was_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = OrgFile::new(folder.path().join("organizations.json"));
        file.create(organization("acme")).unwrap();
        let registry = block_on(OrgRegistry::default().with_file(file.clone())).unwrap();
        std::fs::write(file.path(), "[{]").unwrap();
        let error = block_on(registry.refresh()).unwrap_err();
        assert!(error.to_string().contains("does not hold organizations"));
        assert_eq!(ids(&registry), ["acme"]);
    }
}
