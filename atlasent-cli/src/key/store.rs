//! The API keys of one location.

use atlasent_authority::PostgresStore;
use atlasent_authority::keys::{ApiKey, KeyFile};

use crate::data_dir;
use crate::exit::Failure;
use crate::location::Place;

/// The API keys of one location.
pub(super) enum KeyStore {
    File(KeyFile),
    Database(PostgresStore),
}

impl KeyStore {
    pub(super) fn new(place: Place) -> Self {
        match place {
            Place::Folder(folder) => Self::File(KeyFile::new(data_dir::key_file(&folder))),
            Place::Database(store) => Self::Database(store),
        }
    }

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
