//! A store in memory that fails, hangs or panics once, at the call that a test plans.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests, which end with the panic"
)]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use atlasent_authority::MemoryStore;
use atlasent_authority::permits::PermitId;
use atlasent_authority::store::{
    ApprovalEntry, ApprovalKey, ApprovalList, CellKey, Changeset, PermitEntry, PermitKey,
    RateCounter, SealedEvent, Store, StoreError, StoreStatus,
};
use atlasent_authority::trail::EventFilter;
use jiff::Timestamp;

/// A kind of call to a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    /// `Store::commit`.
    Commit,
    /// `Store::events`, and the calls that read permits.
    Events,
    /// `Store::count_events`.
    Total,
    /// `RateCounter::count_call`.
    Count,
    /// `Store::status`.
    Status,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The call returns an error.
    Fails,
    /// The call never returns.
    Hangs,
    /// The call panics.
    Panics,
}

/// Whether a call fails before or after the store has done its work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Before the work: nothing is stored.
    Before,
    /// After the work: the change is stored.
    After,
}

/// All kinds of calls.
pub const CALLS: [Call; 5] = [
    Call::Commit,
    Call::Events,
    Call::Total,
    Call::Count,
    Call::Status,
];

/// All faults.
pub const FAULTS: [Fault; 3] = [Fault::Fails, Fault::Hangs, Fault::Panics];

/// Both times.
pub const TIMES: [When; 2] = [When::Before, When::After];

/// One planned fault: at which call, after how many successful calls of the kind.
#[derive(Clone, Copy, Debug)]
struct PlannedFault {
    call: Call,
    fault: Fault,
    when: When,
    spared: usize,
}

/// The plan of a [`FaultyStore`], which the test keeps.
#[derive(Clone, Debug, Default)]
pub struct StoreFaults(Arc<Plan>);

#[derive(Debug, Default)]
struct Plan {
    next: Mutex<Option<PlannedFault>>,
    /// The kind of call of which the next one pauses.
    pauses: Mutex<Option<Call>>,
    /// The number of faults that have happened.
    happened: AtomicUsize,
}

impl StoreFaults {
    /// Plans one fault at a call of this kind, after `spared` calls of the kind that succeed.
    pub fn plan(&self, call: Call, fault: Fault, when: When, spared: usize) {
        *self.0.next.lock().unwrap() = Some(PlannedFault {
            call,
            fault,
            when,
            spared,
        });
    }

    /// Takes the planned fault back, unless it has happened.
    pub fn clear(&self) {
        *self.0.next.lock().unwrap() = None;
    }

    /// Has the next call of this kind succeed, but be pending when it is polled first.
    pub fn pause(&self, call: Call) {
        *self.0.pauses.lock().unwrap() = Some(call);
    }

    /// Returns how many faults have happened.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.happened.load(Ordering::SeqCst)
    }

    /// Returns whether the planned fault has happened.
    #[must_use]
    pub fn have_happened(&self) -> bool {
        self.0.next.lock().unwrap().is_none()
    }

    async fn happen(&self, call: Call, when: When) -> Result<(), StoreError> {
        let pauses = self.0.pauses.lock().unwrap().take_if(|next| *next == call);
        if pauses.is_some() {
            crate::yields(1).await;
        }
        let fault = {
            let mut planned = self.0.next.lock().unwrap();
            match &mut *planned {
                Some(next) if (next.call, next.when) == (call, when) => match next.spared {
                    0 => planned.take().map(|next| next.fault),
                    _ => {
                        next.spared -= 1;
                        None
                    }
                },
                _ => None,
            }
        };
        if fault.is_some() {
            self.0.happened.fetch_add(1, Ordering::SeqCst);
        }
        match fault {
            None => Ok(()),
            Some(Fault::Fails) => Err(StoreError::failed("/var/lib/hunter2 is gone")),
            Some(Fault::Hangs) => pending().await,
            Some(Fault::Panics) => panic!("scripted"),
        }
    }
}

/// A store in memory that fails as its [`StoreFaults`] say.
#[derive(Debug)]
pub struct FaultyStore {
    store: Arc<MemoryStore>,
    faults: StoreFaults,
}

impl FaultyStore {
    /// Creates an empty store with a plan that the caller can change while the store is used.
    #[must_use]
    pub fn new(faults: StoreFaults) -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            faults,
        }
    }

    /// Returns a store with the same content and without faults, as another process would use it.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            faults: StoreFaults::default(),
        }
    }
}

impl Store for FaultyStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        self.faults.happen(Call::Commit, When::Before).await?;
        let committed = self.store.commit(now, reads, change).await?;
        self.faults.happen(Call::Commit, When::After).await?;
        Ok(committed)
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        self.faults.happen(Call::Events, When::Before).await?;
        self.store.events(after, limit, filter).await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        self.faults.happen(Call::Total, When::Before).await?;
        self.store.count_events(filter).await
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        self.faults.happen(Call::Events, When::Before).await?;
        self.store.permits(before, limit).await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        self.faults.happen(Call::Events, When::Before).await?;
        self.store.permit_key(id).await
    }

    async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, StoreError> {
        self.faults.happen(Call::Events, When::Before).await?;
        self.store.approvals(list, before, limit).await
    }

    async fn approval(&self, key: ApprovalKey) -> Result<Option<ApprovalEntry>, StoreError> {
        self.faults.happen(Call::Events, When::Before).await?;
        self.store.approval(key).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.faults.happen(Call::Status, When::Before).await?;
        self.store.status().await
    }
}

impl RateCounter for FaultyStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        self.faults.happen(Call::Count, When::Before).await?;
        self.store.count_call(counter, minute).await
    }
}
