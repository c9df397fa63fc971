//! A store in memory that fails, hangs or panics once, when a test asks for it.

use std::future::pending;
use std::sync::{Arc, Mutex};

use atlasent_authority::permits::PermitId;
use atlasent_authority::store::{
    CellKey, Changeset, PermitEntry, PermitKey, RateCounter, SealedEvent, Store, StoreError,
    StoreStatus,
};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, MemoryStore};
use jiff::Timestamp;

use crate::support::policies;

/// The calls of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Commit,
    Events,
    Total,
    Count,
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Fails,
    Hangs,
    Panics,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    Before,
    After,
}

pub(crate) const CALLS: [Call; 5] = [
    Call::Commit,
    Call::Events,
    Call::Total,
    Call::Count,
    Call::Status,
];
pub(crate) const FAULTS: [Fault; 3] = [Fault::Fails, Fault::Hangs, Fault::Panics];
pub(crate) const TIMES: [When; 2] = [When::Before, When::After];

/// The planned fault: at which call, and after how many successful calls.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    call: Call,
    fault: Fault,
    when: When,
    spared: usize,
}

/// The test's handle of a [`Faulty`] store.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<Ahead>>>);

impl Trouble {
    /// Plans one fault at this call, after `spared` successful calls of the same kind.
    pub(crate) fn lies_ahead(&self, call: Call, fault: Fault, when: When, spared: usize) {
        *self.0.lock().unwrap() = Some(Ahead {
            call,
            fault,
            when,
            spared,
        });
    }

    /// Returns whether the fault has happened.
    pub(crate) fn is_over(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    async fn maybe(&self, call: Call, when: When) -> Result<(), StoreError> {
        let fault = {
            let mut ahead = self.0.lock().unwrap();
            match &mut *ahead {
                Some(next) if (next.call, next.when) == (call, when) => match next.spared {
                    0 => ahead.take().map(|next| next.fault),
                    _ => {
                        next.spared -= 1;
                        None
                    }
                },
                _ => None,
            }
        };
        match fault {
            None => Ok(()),
            Some(Fault::Fails) => Err(StoreError::failed("/var/lib/hunter2 is gone")),
            Some(Fault::Hangs) => pending().await,
            Some(Fault::Panics) => panic!("scripted"),
        }
    }
}

pub(crate) struct Faulty {
    store: MemoryStore,
    trouble: Trouble,
}

/// Returns an authority whose store can fail on demand.
pub(crate) async fn faulty() -> (LocalAuthority<Faulty>, Trouble) {
    let trouble = Trouble::default();
    let store = Faulty {
        store: MemoryStore::new(),
        trouble: trouble.clone(),
    };
    let authority = LocalAuthority::builder(policies())
        .store(store)
        .build()
        .await;
    (authority.unwrap(), trouble)
}

impl Store for Faulty {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.trouble.maybe(Call::Commit, When::Before).await?;
        let committed = self.store.commit(now, reads, change).await?;
        self.trouble.maybe(Call::Commit, When::After).await?;
        Ok(committed)
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        self.trouble.maybe(Call::Events, When::Before).await?;
        self.store.events(after, limit, filter).await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        self.trouble.maybe(Call::Total, When::Before).await?;
        self.store.count_events(filter).await
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        self.trouble.maybe(Call::Events, When::Before).await?;
        self.store.permits(before, limit).await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        self.trouble.maybe(Call::Events, When::Before).await?;
        self.store.permit_key(id).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.trouble.maybe(Call::Status, When::Before).await?;
        self.store.status().await
    }
}

impl RateCounter for Faulty {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        self.trouble.maybe(Call::Count, When::Before).await?;
        self.store.count_call(counter, minute).await
    }
}
