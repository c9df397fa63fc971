//! The medium of the organizations' stores.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::store::{OrgId, Organizations, Store, StoreError};

type Creating = Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send>>;

/// The medium of the organizations' stores. Its type is erased, so that a server also runs on a
/// store that holds `local` alone.
pub(super) struct Medium<S> {
    open: Box<dyn Fn(&OrgId) -> S + Send + Sync>,
    create: Box<dyn Fn(OrgId) -> Creating + Send + Sync>,
}

impl<S: Store + Organizations<Store = S>> Medium<S> {
    /// Creates the medium that a store is on.
    pub(super) fn from_store(store: &S) -> Self {
        let medium = Arc::new(store.organization(&OrgId::local()));
        let creating = Arc::clone(&medium);
        Self {
            open: Box::new(move |id| medium.organization(id)),
            create: Box::new(move |id| {
                let medium = Arc::clone(&creating);
                Box::pin(async move { medium.create_organization(&id).await })
            }),
        }
    }
}

impl<S> Medium<S> {
    /// Returns the store of an organization, which the medium may not have.
    pub(super) fn unchecked_store(&self, id: &OrgId) -> S {
        (self.open)(id)
    }

    /// Returns the store of an organization, after creating it if the medium has none.
    pub(super) async fn store(&self, id: &OrgId) -> Result<S, StoreError> {
        (self.create)(id.clone()).await?;
        Ok((self.open)(id))
    }
}

impl<S> fmt::Debug for Medium<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Medium").finish_non_exhaustive()
    }
}
