//! Stores of many organizations on one medium.

use std::future::Future;

use super::{OrgId, RateCounter, Store, StoreError};

/// A medium that holds the stores of many organizations.
///
/// Each organization has a ledger and a chain of its own. Nothing of one is visible in the store of
/// another, whatever ids, permits, requests or counters they have in common.
///
/// ```
/// use atlasent_authority::store::{MemoryStore, OrgId, Organizations, Store};
///
/// # futures_executor::block_on(async {
/// let stores = MemoryStore::new();
/// let acme: OrgId = "acme".parse()?;
/// assert!(stores.create_organization(&acme).await?);
/// let store = stores.organization(&acme);
/// assert_eq!(&*store.status().await?.head.org_id, "acme");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait Organizations: Send + Sync + 'static {
    /// The store of one organization.
    type Store: Store + RateCounter;

    /// Returns the store of an organization. Every operation of the store fails with
    /// [`StoreError::UnknownOrganization`] until the organization was created; `local` always
    /// exists.
    fn organization(&self, id: &OrgId) -> Self::Store;

    /// Creates an organization, with an empty ledger and chain. Returns `false` if it exists.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the organization was not kept.
    fn create_organization(
        &self,
        id: &OrgId,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns at most `limit` organizations whose ids are greater than `after`, in the order of
    /// their ids and without `local`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the organizations cannot be read.
    fn organizations(
        &self,
        after: Option<&OrgId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<OrgId>, StoreError>> + Send;
}
