//! The store of one organization in the data directory of a stopped server.

use std::path::PathBuf;

use atlasent_authority::RedbStore;
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{OrgId, Organizations, Store, StoreError};
use clap::Args;

use crate::data_dir;
use crate::exit::Failure;

/// The options that select the store of an organization of a stopped server.
#[derive(Args)]
pub(super) struct StoppedServer {
    /// The data directory of a stopped server, whose store is read instead of calling a server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The organization in the store of `--data-dir`; a server has that of the API key
    #[arg(
        long,
        value_name = "ID",
        default_value = "local",
        requires = "data_dir"
    )]
    org: OrgId,
}

impl StoppedServer {
    /// Whether a store is read instead of calling a server.
    pub(super) fn is_set(&self) -> bool {
        self.data_dir.is_some()
    }

    /// Opens the store of the organization, and the keys that sign its exports. Fails if there is
    /// no store, or if the store does not have the organization.
    pub(super) async fn open(&self) -> Result<(RedbStore, KeyRing), Failure> {
        let data = self.data_dir.clone().unwrap_or_default();
        let file = data_dir::store_file(&data);
        let store = RedbStore::open_existing(&file).map_err(Failure::misuse)?;
        let store = store.organization(&self.org);
        store.status().await.map_err(|error| match error {
            StoreError::UnknownOrganization(id) => Failure::misuse(format!(
                "the store `{}` has no organization `{id}`: a server adds an organization at its first use",
                file.display()
            )),
            error => Failure::misuse(error),
        })?;
        let keys = KeyRing::open(data_dir::signing_folder(&data)).map_err(Failure::misuse)?;
        Ok((store, keys))
    }
}
