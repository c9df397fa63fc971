//! Where permits and events are kept: the trait that every store implements.

use std::future::Future;
use std::sync::Arc;

use atlasent::audit::Event;
use jiff::Timestamp;

use crate::chain::{NewEvent, SealedEvent};
use crate::ledger::{PermitEntry, PermitKey};

/// A permit ledger and an audit chain that change together.
///
/// Each change is one transaction: it sees the permit as it is, decides what becomes of it, and says what the
/// chain records of that. Both are kept, durably, before [`commit`](Store::commit) returns, or neither is. No
/// two changes overlap: of several that consume the same permit, one finds it issued.
pub trait Store: Send + Sync + 'static {
    /// Makes one change.
    ///
    /// `change` gets the chain's time, which is `now` unless the clock was set back, and the entry of
    /// `permit`, if there is one. What it leaves there is kept. If it leaves nothing, nothing changes but
    /// the chain. It does not block.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when nothing was kept.
    fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        permit: Option<PermitKey>,
        change: impl FnOnce(Timestamp, &mut Option<PermitEntry>) -> (NewEvent, T) + Send + 'static,
    ) -> impl Future<Output = Result<(Arc<SealedEvent>, T), StoreError>> + Send;

    /// At most `limit` events whose sequence number is above `after`, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    fn events(
        &self,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Event>, StoreError>> + Send;
}

/// Why a store kept nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room for another permit.
    #[error("the permit ledger is full: {permits} permits are waiting to be used or to expire")]
    Full {
        /// How many permits there are.
        permits: usize,
    },
    /// The medium failed.
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
