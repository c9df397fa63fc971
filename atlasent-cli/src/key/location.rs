//! The location of the API keys: a file in the data directory, or the database that several servers
//! share.

use std::env;
use std::path::PathBuf;

use atlasent_authority::PostgresStore;
use atlasent_authority::keys::{ApiKey, KeyFile};
use clap::Args;

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::output::quoted;

/// The options for the location of the API keys, shared by the `key` commands.
#[derive(Args)]
pub(super) struct KeyLocation {
    #[command(flatten)]
    data: DataDir,

    /// The environment variable with the URL of the servers' database, postgres://…, which holds
    /// their keys
    #[arg(long, value_name = "NAME", conflicts_with = "data_dir")]
    store_env: Option<String>,
}

/// The API keys of one location.
pub(super) enum KeyStore {
    File(KeyFile),
    Database(PostgresStore),
}

impl KeyLocation {
    /// Opens the API keys. Fails if the data directory does not exist.
    pub(super) async fn open(&self) -> Result<KeyStore, Failure> {
        self.open_in(DataDir::existing).await
    }

    /// Opens the API keys, after creating the data directory if it does not exist.
    pub(super) async fn create(&self) -> Result<KeyStore, Failure> {
        self.open_in(DataDir::create).await
    }

    async fn open_in(
        &self,
        folder: impl FnOnce(&DataDir) -> Result<PathBuf, Failure>,
    ) -> Result<KeyStore, Failure> {
        match &self.store_env {
            Some(variable) => {
                let store = PostgresStore::connect(&database_url(variable)?).await;
                Ok(KeyStore::Database(store.map_err(Failure::misuse)?))
            }
            None => {
                let file = data_dir::key_file(&folder(&self.data)?);
                Ok(KeyStore::File(KeyFile::new(file)))
            }
        }
    }
}

impl KeyStore {
    pub(super) async fn all(&self) -> Result<Vec<ApiKey>, Failure> {
        match self {
            Self::File(file) => file.load().map_err(Failure::misuse),
            Self::Database(store) => store.api_keys().await.map_err(Failure::misuse),
        }
    }

    pub(super) async fn add(&self, key: ApiKey) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.add(key).map_err(Failure::misuse),
            Self::Database(store) => store.put_api_key(&key).await.map_err(Failure::misuse),
        }
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<bool, Failure> {
        match self {
            Self::File(file) => file.revoke(id).map_err(Failure::misuse),
            Self::Database(store) => store.revoke_api_key(id).await.map_err(Failure::misuse),
        }
    }
}

/// Reads a database URL from an environment variable. As an argument, its password would be visible
/// to every user of the machine.
pub(crate) fn database_url(variable: &str) -> Result<String, Failure> {
    let name = quoted(variable);
    let url = env::var(variable).map_err(|_| {
        Failure::misuse(format!(
            "`--store-env`: the environment variable {name} is not set or not UTF-8"
        ))
    })?;
    match url.starts_with("postgres://") || url.starts_with("postgresql://") {
        true => Ok(url),
        false => Err(Failure::misuse(format!(
            "`--store-env`: {name} must hold a URL such as `postgres://user:password@host/database`"
        ))),
    }
}
