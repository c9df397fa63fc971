//! Where permits and events are kept: the trait that every store implements.

mod batch;
mod calls;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod check;
mod event_list;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod group;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod redb;

use std::future::Future;
use std::sync::Arc;

use atlasent::text::Escaped;
use jiff::Timestamp;

pub use crate::ledger::{
    AgentKey, Grant, Mismatch, Outstanding, PermitEntry, PermitKey, PermitState, Replay, ReplayKey,
    Revoked, Stops, VerifyRefusal,
};
pub use crate::trail::chain::{ChainHead, Fact, NewEvent, SealedEvent};
pub use batch::{Batch, Cell, CellKey, Changeset};
pub use calls::RateCounter;
#[cfg(any(feature = "redb", feature = "postgres"))]
pub use check::StoreReport;
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(all(feature = "postgres", feature = "server"))]
pub(crate) use postgres::{KeptKey, KeyCall};
#[cfg(feature = "redb")]
pub use redb::RedbStore;

use crate::ledger::PermitId;
use crate::trail::EventFilter;

/// A ledger and an audit chain that change together.
///
/// Each change is one transaction: it sees the cells that it names as they are, decides what
/// becomes of them, and says what the chain records of that. All of it is kept, durably, before
/// [`commit`](Store::commit) returns, or nothing is. No two changes overlap, not even those of two
/// processes that share the store: of several that consume the same permit, one finds it issued.
///
/// A store decides nothing. [`Batch`] runs the changes; a store loads what they read and keeps what
/// they leave.
pub trait Store: Send + Sync + 'static {
    /// Makes one change.
    ///
    /// `reads` names the cells that `change` may read and write. It does not block.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was kept, or when that is not known: what was kept is then found
    /// at the next change.
    fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// At most `limit` events that pass the filter and whose sequence number is above `after`,
    /// oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> impl Future<Output = Result<Vec<Arc<SealedEvent>>, StoreError>> + Send;

    /// How many events pass the filter. Without a filter the cost does not grow with the chain.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be counted.
    fn count_events(
        &self,
        filter: &EventFilter,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// At most `limit` permits whose evaluation has a sequence number below `before`, the newest
    /// first. Some that are spent or have expired may be missing, since stores forget those.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(PermitKey, PermitEntry)>, StoreError>> + Send;

    /// The key of the permit with a public id, if it is known.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be looked up.
    fn permit_key(
        &self,
        id: PermitId,
    ) -> impl Future<Output = Result<Option<PermitKey>, StoreError>> + Send;

    /// A consistent copy of the whole store as it is now, in a temporary file that has no name.
    /// Changes go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] for a store that is saved in another way, as by default; else
    /// [`StoreError`] when the copy cannot be made.
    fn backup(&self) -> impl Future<Output = Result<std::fs::File, StoreError>> + Send {
        std::future::ready(Err(StoreError::Unsupported(
            "this store cannot be backed up: it keeps nothing in a file",
        )))
    }

    /// How much is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that cannot be told: then nothing else works either.
    fn status(&self) -> impl Future<Output = Result<StoreStatus, StoreError>> + Send;
}

/// How long a cell is still known after its time, so that it is refused as expired and not as
/// unknown.
#[cfg(any(feature = "redb", feature = "postgres"))]
const REMEMBERED: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// How much a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// The end of the chain.
    pub head: ChainHead,
    /// The sequence number of the last event that was dropped from the chain's beginning; 0 when
    /// none was.
    pub dropped: u64,
    /// How many cells are kept: permits, answers to requests with an id, counts of agents, stops.
    pub cells: u64,
}

/// Why a store kept nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room for another permit.
    #[error("the permit ledger is full: {permits} permits are waiting to be used or to expire")]
    Full {
        /// How many permits there are.
        permits: usize,
    },
    /// Too many reads wait already. Changes are not affected.
    #[error("too many reads of the store are waiting: try again")]
    Busy,
    /// The store lacks events of its chain, or its last event is not the chain's head. The text
    /// names them.
    #[error(
        "the audit trail is incomplete: {0}. Nothing was signed. Stop the server, keep a copy of this store, compare \
        it with earlier exports (`atlasent audit verify NEW --after OLD`), and restore a backup"
    )]
    Incomplete(String),
    /// The store does not do this; the text says what to use.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The medium failed.
    #[error("the store failed: {}", Escaped::new(&.0.to_string()))]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// The medium failed, and why.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }
}
