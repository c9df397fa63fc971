//! The store of one organization in the data directory of a stopped server.

use std::path::{Path, PathBuf};

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

    /// The key file of `atlasent serve --signing-key` [default: the key in `--data-dir`]
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    signing_key: Option<PathBuf>,

    /// The organization in `--data-dir`; a server has that of the API key
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
    /// no store or no key, or if the store does not have the organization. Creates no key: exports
    /// of a new one would not verify.
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
        let keys = self.keys(&data)?;
        Ok((store, keys))
    }

    fn keys(&self, data: &Path) -> Result<KeyRing, Failure> {
        let folder = data_dir::signing_folder(data);
        let keys = KeyRing::open_existing(&folder, self.signing_key.as_deref());
        keys.map_err(Failure::misuse)?.ok_or_else(|| {
            Failure::misuse(format!(
                "`{}` holds no signing key: if the server uses `--signing-key FILE`, set the same option here",
                folder.display()
            ))
        })
    }
}
