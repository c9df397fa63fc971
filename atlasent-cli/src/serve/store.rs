//! The store that `--store` names.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use atlasent_authority::{
    CellKey, Draft, EventFilter, MemoryStore, PermitEntry, PermitId, PermitKey, PostgresStore,
    RateCounter, RedbStore, SealedEvent, Store, StoreError, StoreStatus,
};
use jiff::Timestamp;

use crate::data;
use crate::exit::Failure;

/// What `--store` may say.
#[derive(Clone)]
pub(super) enum StoreChoice {
    Memory,
    Redb,
    Postgres(String),
}

impl StoreChoice {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "memory" => Ok(Self::Memory),
            "redb" => Ok(Self::Redb),
            _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err("use `memory`, `redb`, or the address of a database, `postgres://…`"),
        }
    }
}

/// Never an address: it may hold a password.
impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory: gone when the process ends",
            Self::Redb => "redb",
            Self::Postgres(_) => "PostgreSQL",
        })
    }
}

/// One of the stores.
#[derive(Debug)]
pub(super) enum AnyStore {
    Memory(Box<MemoryStore>),
    Redb(RedbStore),
    Postgres(PostgresStore),
}

impl AnyStore {
    pub(super) async fn open(choice: &StoreChoice, data: &Path) -> Result<Self, Failure> {
        Ok(match choice {
            StoreChoice::Memory => Self::Memory(Box::default()),
            StoreChoice::Redb => {
                let store = RedbStore::open(data::store_file(data));
                Self::Redb(store.map_err(Failure::misuse)?)
            }
            StoreChoice::Postgres(address) => {
                let store = PostgresStore::connect(address).await;
                Self::Postgres(store.map_err(Failure::misuse)?)
            }
        })
    }
}

/// Calls the same method of the store that it is.
macro_rules! forward {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            AnyStore::Memory($store) => $call,
            AnyStore::Redb($store) => $call,
            AnyStore::Postgres($store) => $call,
        }
    };
}

impl Store for AnyStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        forward!(self, store => store.commit(now, reads, change).await)
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        forward!(self, store => store.events(after, limit, filter).await)
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        forward!(self, store => store.count_events(filter).await)
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        forward!(self, store => store.permits(before, limit).await)
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        forward!(self, store => store.permit_key(id).await)
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        forward!(self, store => store.status().await)
    }
}

impl RateCounter for AnyStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        forward!(self, store => store.count_call(counter, minute).await)
    }
}
