//! The [`Store`] trait of permits and events, and the types that an implementation needs: [`Batch`]
//! and [`Changeset`] run the changes, [`CellKey`] and [`Cell`] are the ledger's keys and values,
//! [`ChainHead`] and [`SealedEvent`] the audit chain. The stores themselves are here, too:
//! [`MemoryStore`], `RedbStore` (feature `redb`) and `PostgresStore` (feature `postgres`).

pub(crate) mod approvals;
mod batch;
mod calls;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod check;
mod event_list;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod group;
mod memory;
pub(crate) mod org_id;
mod organizations;
mod packed;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod read_places;
#[cfg(feature = "redb")]
mod redb;
mod webhooks;

use std::future::Future;
use std::sync::Arc;

use atlasent::text::Escaped;
use jiff::Timestamp;

pub use crate::ledger::{
    AgentKey, ApprovalEntry, ApprovalKey, ApprovalState, AskedQuestions, BudgetKey, BudgetUse,
    Charge, EscalationId, InvalidEscalationId, NonceKey, Outstanding, PermitEntry, PermitGrant,
    PermitKey, PermitMismatch, PermitState, Question, QuestionKey, RecordedEnd, Replay, ReplayKey,
    Revoked, Stops, VerifyRefusal,
};
pub use crate::trail::chain::{ChainHead, EventValue, NewEvent, SealedEvent};
pub use approvals::ApprovalList;
pub use batch::{Batch, Cell, CellKey, Changeset};
pub use calls::RateCounter;
#[cfg(any(feature = "redb", feature = "postgres"))]
pub use check::StoreReport;
pub use memory::MemoryStore;
pub use org_id::{InvalidOrgId, OrgId};
pub use organizations::Organizations;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(all(feature = "postgres", feature = "server"))]
pub(crate) use postgres::{KeptKey, KeptOrganization, KeyCall, RecordTable};
#[cfg(feature = "redb")]
pub use redb::RedbStore;
pub use webhooks::{WebhookKey, WebhookLease, WebhookState};

use crate::ledger::PermitId;
use crate::trail::EventFilter;

/// A ledger and an audit chain that change together.
///
/// Each change is one transaction: it reads the cells that it names, writes cells, and appends
/// events. Before [`commit`](Store::commit) returns, all of it is kept durably, or nothing is.
/// Changes never overlap, not even those of two processes that share the store: of two changes that
/// use the same permit, one finds it used.
///
/// A store makes no decision. [`Batch`] runs the changes; a store loads the cells that they read,
/// and keeps the events and cells that they leave.
pub trait Store: Send + Sync + 'static {
    /// Commits one change.
    ///
    /// `reads` names the cells that `change` may read and write. `change` must not block. A store
    /// may run clones of it again, each on fresh cells, when a transaction kept nothing. The result
    /// is that of the run that was kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was kept, or when the store cannot tell. The next change then
    /// sees whether it was kept.
    fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// Returns at most `limit` events that pass the filter and have a sequence number above
    /// `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the events cannot be read.
    fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> impl Future<Output = Result<Vec<Arc<SealedEvent>>, StoreError>> + Send;

    /// Returns how many events pass the filter. For a filter that passes every event, the cost does
    /// not grow with the chain.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the events cannot be counted.
    fn count_events(
        &self,
        filter: &EventFilter,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns at most `limit` permits whose evaluation has a sequence number below `before`, the
    /// newest first. Used, revoked and expired permits may be missing, since stores forget them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the permits cannot be read.
    fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(PermitKey, PermitEntry)>, StoreError>> + Send;

    /// Returns the key of the permit with a public id, or `None` for an unknown permit.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the permit cannot be looked up.
    fn permit_key(
        &self,
        id: PermitId,
    ) -> impl Future<Output = Result<Option<PermitKey>, StoreError>> + Send;

    /// Returns at most `limit` decisions of a list whose opening event has a sequence number below
    /// `before`, the newest first. Each decision is opened by an event of its own.
    ///
    /// There may be fewer than `limit`: the stores here end a page with the decision by which it
    /// reaches 4 MiB. Only an empty page shows that the list has no more.
    ///
    /// A decision moves from the open ones to the closed ones in the change that closes it. The
    /// cost does not grow with the length of either list. Closed decisions may be missing after
    /// their [time](ApprovalEntry::forget_at), since stores forget them; stores in memory also
    /// forget them earlier, when there are many.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the decisions cannot be read.
    fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ApprovalEntry>, StoreError>> + Send;

    /// Returns a pending decision, open or closed, or `None` for an unknown one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the decision cannot be read.
    fn approval(
        &self,
        key: ApprovalKey,
    ) -> impl Future<Output = Result<Option<ApprovalEntry>, StoreError>> + Send;

    /// Returns a consistent copy of the whole store, in a temporary file that has no name. Changes
    /// continue meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] for a store that is saved in another way, which is the default;
    /// another [`StoreError`] when the copy cannot be made.
    fn backup(&self) -> impl Future<Output = Result<std::fs::File, StoreError>> + Send {
        std::future::ready(Err(StoreError::Unsupported(
            "this store cannot be backed up: it keeps nothing in a file",
        )))
    }

    /// Returns whether a [backup](Self::backup) holds organizations beside `local`, which an API key
    /// of `local` may read only if it has the scope for it. `true` by default: a store that does
    /// not know may hold some.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the organizations cannot be read.
    fn backup_has_others(&self) -> impl Future<Output = Result<bool, StoreError>> + Send {
        std::future::ready(Ok(true))
    }

    /// Returns whether other processes may change the store while this one uses it. `true` by
    /// default: what others decided is then looked for, once a second while somebody waits for it.
    fn is_shared(&self) -> bool {
        true
    }

    /// Returns the head of the chain and the number of cells.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read; every other operation fails then, too.
    fn status(&self) -> impl Future<Output = Result<StoreStatus, StoreError>> + Send;
}

/// How long a cell is kept after it has expired, so that an expired permit is refused as expired
/// and not as unknown.
#[cfg(any(feature = "redb", feature = "postgres"))]
const REMEMBERED: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// The head of a store's chain, and how much the store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// The end of the chain.
    pub head: ChainHead,
    /// The sequence number of the last event that was dropped from the beginning of the chain; 0 if
    /// no event was dropped.
    pub dropped: u64,
    /// How many cells the store keeps: permits, replays, pending decisions, counts, stops.
    pub cells: u64,
}

/// Why a store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The ledger has no room for another permit.
    #[error("the permit ledger is full: {permits} permits are waiting to be used or to expire")]
    Full {
        /// How many permits the ledger holds.
        permits: usize,
    },
    /// Too many reads are waiting. Changes are not affected.
    #[error("too many reads of the store are waiting: try again")]
    Busy,
    /// Events of the chain are missing, or the last event is not the chain's head. The text names
    /// the events.
    #[error(
        "the audit trail is incomplete: {0}. Nothing was signed. Stop the server, keep a copy of this store, compare \
        it with earlier exports (`atlasent audit verify NEW --after OLD`), and restore a backup"
    )]
    Incomplete(String),
    /// The store has no such organization.
    #[error("there is no organization `{0}`")]
    UnknownOrganization(OrgId),
    /// The store does not support the operation. The text names the alternative.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The medium failed.
    #[error("the store failed: {}", Escaped::new(&.0.to_string()))]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Wraps an error of the medium.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }
}
