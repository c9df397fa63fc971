//! The media of the stores. Each test has its own medium, which can be opened more than once if the
//! allows it.

use std::num::NonZeroU16;
use std::time::Duration;

use atlasent_authority::store::{OrgId, Organizations, RateCounter, Store};
use atlasent_authority::{LocalAuthority, MemoryStore, PostgresStore, RedbStore};
use atlasent_tests::postgres::{Pooler, PrivatePostgres};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::support::{Time, at, issue, permit_all, record};

/// A medium that only one test uses.
pub(crate) trait Medium: Sized + Send + Sync + 'static {
    type Store: Store + RateCounter + Organizations<Store = Self::Store>;

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

/// One organization of a medium, beside one that uses the same names.
pub(crate) struct Organization<M>(M);

impl<M: Medium> Medium for Organization<M> {
    type Store = M::Store;

    const TIDIES: bool = M::TIDIES;

    async fn new() -> Option<Self> {
        Some(Self(M::new().await?))
    }

    async fn open(&self) -> M::Store {
        let store = self.0.open().await;
        let [own, neighbour] = ["acme", "neighbour"].map(|id| id.parse::<OrgId>().unwrap());
        for id in [&own, &neighbour] {
            store.create_organization(id).await.unwrap();
        }
        for beside in [OrgId::local(), neighbour] {
            let beside = store.organization(&beside);
            for name in ["a", "b", "0", "1", "permit"] {
                issue(&beside, name, at(0)).await.unwrap();
                record(&beside, "evaluate.deny", Some("bot 1"), at(1)).await;
                beside.count_call(name, 1).await.unwrap();
            }
        }
        store.organization(&own)
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

/// A database whose tables are partitioned by organization, used in serializable transactions: what
/// PostgreSQL's distributed kin ask for.
pub(crate) struct Distributed(Postgres);

/// A database behind a pooler that gives each transaction one of two connections.
pub(crate) struct Pooled(String);

impl Postgres {
    /// The database of a URL.
    pub(crate) fn at(url: &str) -> Self {
        Self(url.to_owned())
    }

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

impl Distributed {
    /// The database of the medium, without its isolation.
    pub(crate) fn postgres(&self) -> &Postgres {
        &self.0
    }

    /// The URL of the database.
    pub(crate) fn url(&self) -> String {
        serializable(self.0.url())
    }
}

/// Returns a URL whose transactions are serializable.
pub(crate) fn serializable(url: &str) -> String {
    format!("{url}?atlasent_isolation=serializable")
}

impl Medium for Distributed {
    type Store = PostgresStore;

    async fn new() -> Option<Self> {
        let medium = Postgres::new().await?;
        medium.sql(&PostgresStore::schema(NonZeroU16::new(3))).await;
        Some(Self(medium))
    }

    async fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.url()).await.unwrap()
    }
}

impl Pooled {
    /// The URL of the database, through the pooler.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }
}

impl Medium for Pooled {
    type Store = PostgresStore;

    async fn new() -> Option<Self> {
        static POOLER: OnceCell<Option<Pooler>> = OnceCell::const_new();
        let medium = Postgres::new().await?;
        let pooler = POOLER.get_or_init(async || {
            let server = PrivatePostgres::shared().unwrap();
            server.pooler("pooler", "").await
        });
        let name = medium.url().rsplit('/').next()?.to_owned();
        Some(Self(pooler.await.as_ref()?.url(&name)))
    }

    async fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.0).await.unwrap()
    }
}
