//! Where the keys are: in a file of the data directory, or in the database that several servers share.

use std::env;
use std::path::PathBuf;

use atlasent_authority::PostgresStore;
use atlasent_authority::keys::{ApiKey, KeyFile};
use clap::Args;

use crate::data::{self, DataDir};
use crate::exit::Failure;
use crate::output::quoted;

/// The part of each command that says where.
#[derive(Args)]
pub(super) struct Place {
    #[command(flatten)]
    data: DataDir,

    /// An environment variable with the address of the database, postgres://…, if the servers keep their keys there
    #[arg(long, value_name = "NAME", conflicts_with = "data_dir")]
    store_env: Option<String>,
}

/// The keys of a place.
pub(super) enum Keys {
    File(KeyFile),
    Database(PostgresStore),
}

impl Place {
    /// The keys of a place to read or change. Creates nothing.
    pub(super) async fn open(&self) -> Result<Keys, Failure> {
        self.at(DataDir::existing).await
    }

    /// The keys of a place, whose folder is created if it does not exist.
    pub(super) async fn create(&self) -> Result<Keys, Failure> {
        self.at(DataDir::make).await
    }

    async fn at(
        &self,
        folder: impl FnOnce(&DataDir) -> Result<PathBuf, Failure>,
    ) -> Result<Keys, Failure> {
        match &self.store_env {
            Some(variable) => {
                let store = PostgresStore::connect(&address(variable)?).await;
                Ok(Keys::Database(store.map_err(Failure::misuse)?))
            }
            None => {
                let file = data::key_file(&folder(&self.data)?);
                Ok(Keys::File(KeyFile::new(file)))
            }
        }
    }
}

impl Keys {
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

/// The address in an environment variable: as an argument, everybody on the machine could read its password.
pub(crate) fn address(variable: &str) -> Result<String, Failure> {
    let name = quoted(variable);
    let address = env::var(variable).map_err(|_| {
        Failure::misuse(format!(
            "`--store-env`: the environment variable {name} is not set, or is not UTF-8"
        ))
    })?;
    match address.starts_with("postgres://") || address.starts_with("postgresql://") {
        true => Ok(address),
        false => Err(Failure::misuse(format!(
            "`--store-env`: {name} holds no address such as `postgres://user:password@host/database`"
        ))),
    }
}
