//! Transactions that the database fails because of others, and that are run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atlasent_authority::PostgresStore;
use atlasent_authority::store::{
    Changeset, NewEvent, OrgId, Organizations, RateCounter, Store, StoreError,
};
use atlasent_authority::trail::EventFilter;

use crate::media::{Distributed, Medium, Postgres};
use crate::support::{CROWD, at, crowd, intact, issue, record, state};

/// Makes the first transactions fail, after they have changed the head.
fn failing(transactions: usize, code: &str, when: &str) -> String {
    format!(
        "CREATE SEQUENCE attempts; \
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('attempts') <= {transactions} THEN \
                 RAISE EXCEPTION 'a conflict that a test injected' USING ERRCODE = '{code}'; \
             END IF; RETURN NULL; \
         END $$; \
         CREATE CONSTRAINT TRIGGER failing AFTER UPDATE ON atlasent_head \
             DEFERRABLE INITIALLY {when} FOR EACH ROW EXECUTE FUNCTION fail()"
    )
}

/// Keeps an event. Returns its sequence number, and counts how often it ran.
async fn counted(store: &PostgresStore, runs: &Arc<AtomicUsize>) -> Result<u64, StoreError> {
    let runs = Arc::clone(runs);
    let change = move |changeset: &mut Changeset<'_>| {
        runs.fetch_add(1, Ordering::SeqCst);
        changeset.record(NewEvent::new("policy.loaded")).sequence
    };
    store.commit(at(1), Vec::new(), change).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_fails_by_a_conflict_is_run_again_with_its_changes() {
    for (code, when) in [
        ("40001", "IMMEDIATE"),
        ("40P01", "IMMEDIATE"),
        // As the answer to `COMMIT`.
        ("40001", "DEFERRED"),
    ] {
        let Some(medium) = Distributed::new().await else {
            return;
        };
        let store = medium.open().await;
        issue(&store, "a", at(0)).await.unwrap();
        medium.postgres().sql(&failing(3, code, when)).await;
        let runs = Arc::default();
        assert_eq!(counted(&store, &runs).await.unwrap(), 2);
        assert_eq!(runs.load(Ordering::SeqCst), 4);
        let attempts = medium.postgres().sql("SELECT last_value FROM attempts");
        assert_eq!(attempts.await, ["4"], "{code} {when}");
        assert_eq!(intact(&store).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_never_gets_through_is_refused_and_not_kept() {
    let Some(medium) = Distributed::new().await else {
        return;
    };
    let store = medium.open().await;
    issue(&store, "a", at(0)).await.unwrap();
    let failing = failing(1_000_000, "40001", "DEFERRED");
    medium.postgres().sql(&failing).await;
    let runs = Arc::default();
    let before = Instant::now();
    let error = counted(&store, &runs).await.unwrap_err().to_string();
    assert!(before.elapsed() < Duration::from_secs(10));
    assert!(error.contains("nothing was kept"), "{error}");
    assert_eq!(runs.load(Ordering::SeqCst), 64);
    medium
        .postgres()
        .sql("DROP TRIGGER failing ON atlasent_head")
        .await;
    assert_eq!(intact(&store).await, 1);
    // The connection is as good as before.
    counted(&store, &runs).await.unwrap();
    assert_eq!(intact(&store).await, 2);
}

/// The transactions of one store fail at their end, until another store has changed the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_runs_again_on_what_another_store_has_changed_meanwhile() {
    let Some(medium) = Distributed::new().await else {
        return;
    };
    let unlucky = format!("{}&application_name=unlucky", medium.url());
    let unlucky = PostgresStore::connect(&unlucky).await.unwrap();
    let other = medium.open().await;
    record(&unlucky, "policy.loaded", None, at(0)).await;
    let failing = failing(20, "40001", "DEFERRED").replace(
        "IF ",
        "IF current_setting('application_name') = 'unlucky' AND pg_sleep(0.02) IS NOT NULL AND ",
    );
    medium.postgres().sql(&failing).await;
    let runs = Arc::default();
    let (last, first) = tokio::join!(counted(&unlucky, &runs), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        record(&other, "evaluate.deny", None, at(1)).await
    });
    assert_eq!(first.sequence, 2);
    assert_eq!(last.unwrap(), 3);
    assert_eq!(intact(&other).await, 3);
}

/// Changes are not cloned under `READ COMMITTED`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_serializable_transactions_a_conflict_is_an_error_and_nothing_is_kept() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    issue(&store, "a", at(0)).await.unwrap();
    medium.sql(&failing(1, "40P01", "IMMEDIATE")).await;
    let error = issue(&store, "b", at(0)).await.unwrap_err().to_string();
    assert!(error.contains("nothing was kept, try again"), "{error}");
    assert_eq!(state(&store, "b").await, None);
    issue(&store, "b", at(0)).await.unwrap();
    assert_eq!(intact(&store).await, 2);
}

/// Two stores, each with four connections, change five organizations and count calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_whose_transactions_conflict_make_one_chain_of_each_organization() {
    let Some(medium) = Distributed::new().await else {
        return;
    };
    let stores = [Arc::new(medium.open().await), Arc::new(medium.open().await)];
    let ids: Vec<OrgId> = (0..5)
        .map(|n| format!("org-{n}").parse().unwrap())
        .collect();
    for id in &ids {
        stores[0].create_organization(id).await.unwrap();
    }
    crowd(|number| {
        let store = Arc::clone(&stores[number % 2]);
        let id = ids[number % ids.len()].clone();
        async move {
            let store = store.organization(&id);
            for round in 0..3 {
                store.count_call("call", 1).await.unwrap();
                issue(&store, &format!("{number} {round}"), at(round))
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let all = EventFilter::default();
    let mut events = 0;
    for id in &ids {
        let [one, other] = [0, 1].map(|n: usize| stores[n].organization(id));
        let count = intact(&one).await;
        assert_eq!(one.status().await.unwrap(), other.status().await.unwrap());
        assert_eq!(other.count_events(&all).await.unwrap(), count);
        events += count;
    }
    assert_eq!(events, 3 * CROWD as u64);
    let calls = stores[1].organization(&ids[0]).count_call("call", 1).await;
    let callers = (0..CROWD).filter(|number| number % ids.len() == 0).count();
    assert_eq!(calls.unwrap(), 3 * callers as u64 + 1);
}

#[tokio::test]
async fn an_isolation_that_is_not_known_is_refused() {
    let url = "postgres://u:hunter2@localhost/d?atlasent_isolation=snapshot";
    let error = PostgresStore::connect(url).await.unwrap_err().to_string();
    assert!(error.contains("atlasent_isolation=serializable"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
