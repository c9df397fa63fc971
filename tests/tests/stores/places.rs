//! Where stores are opened, and opened again.

use std::path::PathBuf;

use atlasent_authority::{MemoryStore, PostgresStore, RedbStore, Store};
use atlasent_tests::postgres;
use tempfile::TempDir;

/// A place for one store.
pub(crate) trait Place {
    type Store: Store;

    /// Opens the store of this place. In memory it is a new one each time.
    async fn open(&self) -> Self::Store;
}

pub(crate) struct Memory;

impl Place for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        MemoryStore::new()
    }
}

pub(crate) struct File(TempDir);

impl File {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("authority.redb")
    }
}

impl Place for File {
    type Store = RedbStore;

    async fn open(&self) -> RedbStore {
        // The one before may still be closing.
        for _ in 0..500 {
            match RedbStore::open(self.path()) {
                Ok(store) => return store,
                Err(error) if error.to_string().contains("another process") => {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it stays open");
    }
}

pub(crate) struct Database {
    pub(crate) address: String,
}

impl Database {
    /// None where there is no PostgreSQL.
    pub(crate) fn new() -> Option<Self> {
        let address = postgres()?.database();
        Some(Self { address })
    }
}

impl Place for Database {
    type Store = PostgresStore;

    async fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.address).await.unwrap()
    }
}
