//! A store that fails, hangs or panics at any of its calls: nothing is allowed that is not on record.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atlasent::{AnyAction, AuthorityExt, Client, Error};
use atlasent_authority::server::KeyBook;
use atlasent_authority::{
    CellKey, Draft, EventFilter, LocalAuthority, MemoryStore, SealedEvent, Store, StoreError,
    StoreStatus,
};
use atlasent_tests::quiet_panics;
use jiff::Timestamp;
use serde_json::json;

use crate::stage::{Set, Stage, new_key, policies};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Fails,
    Hangs,
    Panics,
    /// It is kept, and nobody is told.
    FailsAfterwards,
}

/// A store in memory with one fault, at its nth change.
pub(crate) struct Faulty {
    store: MemoryStore,
    fault: Fault,
    nth: usize,
    changes: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new(fault: Fault, nth: usize) -> Self {
        Self {
            store: MemoryStore::new(),
            fault,
            nth,
            changes: AtomicUsize::new(0),
        }
    }
}

impl Store for Faulty {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let at_fault = self.changes.fetch_add(1, Ordering::SeqCst) + 1 == self.nth;
        match self.fault {
            Fault::Fails if at_fault => {
                return Err(StoreError::failed("the disk `/secret/path` is gone"));
            }
            Fault::Hangs if at_fault => pending().await,
            Fault::Panics if at_fault => panic!("scripted"),
            _ => {}
        }
        let result = self.store.commit(now, reads, change).await;
        match at_fault && self.fault == Fault::FailsAfterwards {
            true => Err(StoreError::failed("the connection broke")),
            false => result,
        }
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        self.store.events(after, limit, filter).await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        self.store.count_events(filter).await
    }

    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        self.store.count_call(counter, minute).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.store.status().await
    }
}

async fn stage(fault: Fault, nth: usize) -> Stage {
    let store = Faulty::new(fault, nth);
    let authority = LocalAuthority::builder(policies())
        .store(store)
        .build()
        .await
        .unwrap();
    let (key, secret) = new_key();
    let mut set = Set::new(authority);
    set.keys = KeyBook::of([key]);
    set.settings.request_timeout = Duration::from_millis(300);
    set.serve(&secret).await
}

const FAULTS: [Fault; 4] = [
    Fault::Fails,
    Fault::Hangs,
    Fault::Panics,
    Fault::FailsAfterwards,
];

/// The changes of one body: the first one is the authority's start.
const EVALUATE: usize = 2;
const VERIFY: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_lets_a_body_run_or_an_allow_out_that_is_not_on_record() {
    quiet_panics();
    for fault in FAULTS {
        for nth in [EVALUATE, VERIFY] {
            let stage = stage(fault, nth).await;
            let client = Client::builder()
                .base_url(format!("http://{}", stage.address))
                .api_key(&stage.key)
                .max_retries(0)
                .build()
                .unwrap();
            let ran = AtomicUsize::new(0);
            let protected =
                client.with_permit("bot", AnyAction::new("deploy").unwrap(), async |_permit| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Error>(())
                });
            assert!(protected.await.is_err(), "{fault:?} at {nth}");
            assert_eq!(ran.load(Ordering::SeqCst), 0, "{fault:?} at {nth}");
            // What was kept is on record, whether anybody was told or not; and the next one is answered.
            let kept = u64::from(nth == VERIFY || fault == Fault::FailsAfterwards);
            assert_eq!(
                stage.events("evaluate.allow").await,
                kept,
                "{fault:?} at {nth}"
            );
            let said = stage
                .evaluate(json!({ "action_type": "deploy", "actor_id": "bot" }))
                .await;
            assert_eq!(said.body["decision"], "allow", "{fault:?} at {nth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_nothing_of_the_machine() {
    let stage = stage(Fault::Fails, EVALUATE).await;
    let said = stage
        .evaluate(json!({ "action_type": "deploy", "actor_id": "bot" }))
        .await;
    assert_eq!(said.code(), (503, "STORE_UNAVAILABLE"));
    assert!(
        !said.text.contains("secret") && !said.text.contains("disk"),
        "{}",
        said.text
    );
    assert_eq!(said.header("retry-after"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_or_verification_that_was_not_kept_is_an_error() {
    quiet_panics();
    for fault in FAULTS {
        for path in ["/v1-revoke-permit", "/v1-verify-permit"] {
            let stage = stage(fault, VERIFY).await;
            let token = stage.permit(json!({})).await;
            let body = json!({ "decision_id": token, "permit_token": token });
            let said = stage.post(path, &body).await;
            let code = match fault {
                Fault::Fails | Fault::FailsAfterwards => (503, "STORE_UNAVAILABLE"),
                Fault::Hangs => (503, "TIMEOUT"),
                Fault::Panics => (500, "INTERNAL_ERROR"),
            };
            assert_eq!(said.code(), code, "{path}");
            // The key is known by then, so what is left of its rate is said.
            assert!(
                !said.header("x-ratelimit-remaining").is_empty(),
                "{fault:?} {path}"
            );
            let kept = fault == Fault::FailsAfterwards;
            let again = stage.verify(json!({ "permit_token": token })).await;
            assert_eq!(again["valid"], !kept, "{fault:?} {path}");
        }
    }
}
