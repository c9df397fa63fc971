//! The organizations of one location.

use atlasent_authority::PostgresStore;
use atlasent_authority::organizations::{OrgFile, Organization};
use atlasent_authority::store::OrgId;

use crate::data_dir;
use crate::exit::Failure;
use crate::location::Place;

/// The registry of one location.
pub(crate) enum OrgStore {
    File(OrgFile),
    Database(PostgresStore),
}

impl OrgStore {
    pub(crate) fn new(place: &Place) -> Self {
        match place {
            Place::Folder(folder) => Self::File(OrgFile::new(data_dir::organization_file(folder))),
            Place::Database(store) => Self::Database(store.clone()),
        }
    }

    /// Returns the organizations but `local`, sorted by their ids.
    pub(super) async fn all(&self) -> Result<Vec<Organization>, Failure> {
        let mut organizations = match self {
            Self::File(file) => file.load().map_err(Failure::misuse)?,
            Self::Database(store) => {
                let records = store.organization_records().await;
                records.map_err(Failure::misuse)?
            }
        };
        organizations.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(organizations)
    }

    /// Returns an organization; `None` if it is unknown.
    pub(crate) async fn find(&self, id: &OrgId) -> Result<Option<Organization>, Failure> {
        Ok(self.all().await?.into_iter().find(|one| one.id == *id))
    }

    /// Adds an organization. Returns `false` if its id exists.
    pub(super) async fn create(&self, organization: Organization) -> Result<bool, Failure> {
        match self {
            Self::File(file) => file.create(organization).map_err(Failure::misuse),
            Self::Database(store) => {
                let created = store.create_organization_record(&organization).await;
                created.map_err(Failure::misuse)
            }
        }
    }

    /// Changes an organization. Fails if it is unknown.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        id: &OrgId,
        edit: impl Fn(&mut Organization) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let changed = match self {
            Self::File(file) => file.change(id, edit).map_err(Failure::misuse)?,
            Self::Database(store) => {
                let changed = store.change_organization(id, edit).await;
                changed.map_err(Failure::misuse)?
            }
        };
        changed.ok_or_else(|| {
            Failure::misuse(format!(
                "there is no organization `{id}`: run `atlasent org list` for the ids"
            ))
        })
    }
}
