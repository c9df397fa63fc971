//! The media of the stores. Each test has its own medium, which can be opened more than once if the
//! allows it.

use std::time::Duration;

use atlasent_authority::store::{RateCounter, Store};
use atlasent_authority::{LocalAuthority, MemoryStore, PostgresStore, RedbStore};
use atlasent_tests::postgres::PrivatePostgres;
use tempfile::TempDir;

use crate::support::{Time, permit_all};

/// A medium that only one test uses.
pub(crate) trait Medium: Sized + Send + Sync + 'static {
    type Store: Store + RateCounter;

    /// Whether expired cells are removed before the store needs room.
    const TIDIES: bool = true;

    /// Creates a medium. Returns `None` if this machine cannot provide one.
    async fn new() -> Option<Self>;

    /// Opens the store on the medium.
    async fn open(&self) -> Self::Store;

    /// Creates an authority on the medium, whose permits live for a minute.
    async fn authority(&self, time: &Time) -> LocalAuthority<Self::Store> {
        LocalAuthority::builder(permit_all())
            .permit_ttl(Duration::from_secs(60))
            .clock(time.clone().clock())
            .store(self.open().await)
            .build()
            .await
            .unwrap()
    }
}

pub(crate) struct Memory;

impl Medium for Memory {
    type Store = MemoryStore;

    const TIDIES: bool = false;

    async fn new() -> Option<Self> {
        Some(Self)
    }

    async fn open(&self) -> MemoryStore {
        MemoryStore::new()
    }
}

pub(crate) struct Redb(TempDir);

impl Medium for Redb {
    type Store = RedbStore;

    async fn new() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    async fn open(&self) -> RedbStore {
        // The store that was just dropped may still be closing the file.
        for _ in 0..500 {
            match RedbStore::open(self.0.path().join("store.redb")) {
                Err(error) if error.to_string().contains("another process") => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                opened => return opened.unwrap(),
            }
        }
        panic!("the file stays open");
    }
}

pub(crate) struct Postgres(String);

impl Postgres {
    /// The URL of the database.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }

    /// Runs statements on the database directly, without the store.
    pub(crate) async fn sql(&self, statements: &str) -> Vec<String> {
        PrivatePostgres::shared()
            .unwrap()
            .sql(&self.0, statements)
            .await
    }
}

impl Medium for Postgres {
    type Store = PostgresStore;

    async fn new() -> Option<Self> {
        // Starting it takes a second, and must not block the runtime of the other tests
        // meanwhile.
        let server = tokio::task::spawn_blocking(PrivatePostgres::shared)
            .await
            .unwrap()?;
        Some(Self(server.database().await))
    }

    async fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.0).await.unwrap()
    }
}
