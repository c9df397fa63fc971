//! Organizations in a database that several servers share.

use std::sync::{Arc, Mutex, PoisonError};

use super::{LOCAL, Organization, change};
use crate::store::{KeptOrganization, KeyCall, OrgId, PostgresStore, RecordTable, StoreError};

/// The registry of all servers that share the database.
impl PostgresStore {
    /// Returns the organizations of the registry, the oldest first and without `local`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the organizations cannot be read.
    pub async fn organization_records(&self) -> Result<Vec<Organization>, StoreError> {
        let all = |done| KeyCall::All(RecordTable::Organizations, done);
        let records = self.key_call(all).await?;
        let records = records.iter().map(|json| serde_json::from_str(json));
        records
            .collect::<Result<_, _>>()
            .map_err(StoreError::failed)
    }

    /// Adds an organization to the registry, and creates its ledger and chain in the same
    /// transaction. Returns `false`, and changes nothing, if the registry has the id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the organization is `local`, when it was not stored, or when it is
    /// unknown whether it was.
    pub async fn create_organization_record(
        &self,
        organization: &Organization,
    ) -> Result<bool, StoreError> {
        not_local(&organization.id)?;
        let kept = KeptOrganization {
            id: organization.id.clone(),
            json: serde_json::to_string(organization).map_err(StoreError::failed)?,
            created_at: organization.created_at.as_microsecond(),
        };
        self.key_call(|done| KeyCall::CreateRecord(kept, done))
            .await
    }

    /// Changes an organization of the registry, in one transaction. Its id stays as it is. Returns
    /// what `edit` returns; `None` if the registry does not have the id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the organization is `local`, when the change was not stored, or when it
    /// is unknown whether it was.
    pub async fn change_organization<T: Send + 'static>(
        &self,
        id: &OrgId,
        edit: impl Fn(&mut Organization) -> T + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        not_local(id)?;
        let result = Arc::new(Mutex::new(None));
        let edited = Arc::clone(&result);
        let rewrite = move |json: &str| {
            let mut organization = serde_json::from_str(json).map_err(StoreError::failed)?;
            let value = change(&mut organization, &edit);
            *edited.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            serde_json::to_string(&organization)
                .map(Some)
                .map_err(StoreError::failed)
        };
        let id = id.as_str().to_owned();
        let table = RecordTable::Organizations;
        self.key_call(|done| KeyCall::Rewrite(table, id, Box::new(rewrite), done))
            .await?;
        Ok(result.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    /// Returns the version of the registry, which changes with each change to it by any process.
    pub(crate) async fn organizations_version(&self) -> Result<i64, StoreError> {
        let version = |done| KeyCall::Version(RecordTable::Organizations, done);
        self.key_call(version).await
    }
}

fn not_local(id: &OrgId) -> Result<(), StoreError> {
    match id.is_local() {
        true => Err(StoreError::Unsupported(LOCAL)),
        false => Ok(()),
    }
}
