//! A PostgreSQL server that is killed, restarted, or loses connections keeps every acknowledged
//! change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atlasent_authority::PostgresStore;
use atlasent_authority::store::{ApprovalList, ApprovalState, PermitState, RateCounter, Store};
use atlasent_tests::postgres::PrivatePostgres;

use crate::media::{Medium, Postgres};
use crate::support::{
    CROWD, at, crowd, decide, escalation, intact, issue, open_count, open_decisions, record, state,
};

/// Repeats an operation until it succeeds, for at most half a minute.
async fn until_kept(store: &PostgresStore, name: &str) {
    for _ in 0..300 {
        if issue(store, name, at(0)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_changes_survive_a_crash_of_the_server() {
    // With the default setting, the server would lose the last changes.
    let start = || PrivatePostgres::start(&["synchronous_commit = off"], &[]);
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let Some(server) = server.map(Arc::new) else {
        return;
    };
    let url = server.database().await;
    let stores = [
        Arc::new(PostgresStore::connect(&url).await.unwrap()),
        Arc::new(PostgresStore::connect(&url).await.unwrap()),
    ];
    for round in 0..3 {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let crash = {
            let (server, acknowledged) = (Arc::clone(&server), Arc::clone(&acknowledged));
            tokio::task::spawn_blocking(move || {
                while acknowledged.load(Ordering::SeqCst) < 5 * CROWD {
                    std::thread::sleep(Duration::from_millis(10));
                }
                server.crash();
            })
        };
        // Each task continues until a change is refused.
        let kept = crowd(|number| {
            let (store, acknowledged) =
                (Arc::clone(&stores[number % 2]), Arc::clone(&acknowledged));
            async move {
                let mut kept = Vec::new();
                loop {
                    let name = format!("{round} {number} {}", kept.len());
                    if issue(&*store, &name, at(0)).await.is_err() {
                        return kept;
                    }
                    kept.push(name);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .await
        .concat();
        crash.await.unwrap();
        let error = issue(&*stores[0], "while it is away", at(0))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/test_0"), "{error}");
        assert!(stores[0].status().await.is_err());
        assert!(stores[0].count_call("a", 1).await.is_err());
        let back = Arc::clone(&server);
        tokio::task::spawn_blocking(move || back.restart())
            .await
            .unwrap();

        for store in &stores {
            until_kept(store, &format!("{round} after")).await;
        }
        for name in &kept {
            assert_eq!(
                state(&*stores[1], name).await,
                Some(PermitState::Issued),
                "{name}"
            );
        }
        intact(&*stores[0]).await;
        assert!(stores[0].count_call("a", 1).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_lost_between_two_changes_costs_no_error() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    for number in 0..5 {
        record(&store, "policy.loaded", None, at(number)).await;
        intact(&store).await;
        medium
            .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            .await;
        // Waits for the notification.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(intact(&store).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_connection_is_cut_is_kept_whole_or_not_at_all() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let (store, medium) = (Arc::new(medium.open().await), Arc::new(medium));
    let cutter = {
        let medium = Arc::clone(&medium);
        tokio::spawn(async move {
            for _ in 0..40 {
                medium
                    .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
                    .await;
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        })
    };
    let names = crowd(|number| {
        let store = Arc::clone(&store);
        async move {
            let mut names = Vec::new();
            for round in 0..30 {
                let name = format!("{number} {round}");
                let kept = issue(&*store, &name, at(0)).await.is_ok();
                names.push((name, kept));
            }
            names
        }
    })
    .await
    .concat();
    cutter.await.unwrap();
    let mut known = 0;
    for (name, acknowledged) in names {
        let is_known = state(&*store, &name).await.is_some();
        assert!(is_known || !acknowledged, "{name}");
        known += u64::from(is_known);
    }
    assert_eq!(intact(&*store).await, known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_whose_connection_is_cut_is_in_one_list_and_counted() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let (store, medium) = (Arc::new(medium.open().await), Arc::new(medium));
    let cutter = tokio::spawn(async move {
        for _ in 0..40 {
            medium
                .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
                .await;
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
    let acknowledged = crowd(|number| {
        let store = Arc::clone(&store);
        async move {
            let mut ends = Vec::new();
            for round in 0..10 {
                let id = escalation(10 * number + round);
                let opened = open_decisions(&*store, vec![id], at(0)).await.is_ok();
                let known = store.approval(id.key()).await;
                if opened || known.is_ok_and(|known| known.is_some()) {
                    let state = ApprovalState::Rejected;
                    let closed = decide(&*store, vec![id], state, at(1)).await.is_ok();
                    ends.push((id, closed));
                }
            }
            ends
        }
    })
    .await
    .concat();
    cutter.await.unwrap();
    until_kept(&store, "after").await;
    let lists = [ApprovalList::Open, ApprovalList::Closed];
    let [open, closed] = lists.map(|list| store.approvals(list, u64::MAX, usize::MAX));
    let (open, closed) = (open.await.unwrap(), closed.await.unwrap());
    for (id, is_closed) in acknowledged {
        let in_lists = [&open, &closed].map(|list| list.iter().any(|entry| entry.id == id));
        assert!(in_lists[0] != in_lists[1], "{id}: {in_lists:?}");
        assert!(in_lists[1] || !is_closed, "{id}");
    }
    assert_eq!(open_count(&*store).await, open.len() as u64);
    assert!(store.check().await.unwrap().is_good());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stalls_in_a_change_does_not_stop_the_others_for_good() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = Arc::new(medium.open().await);
    record(&*store, "policy.loaded", None, at(0)).await;
    // Another client holds the head for a while: waiting changes are refused and do not hang.
    let holder = {
        let medium = Arc::new(medium);
        tokio::spawn(async move {
            medium
                .sql("BEGIN; SELECT 1 FROM atlasent_head FOR UPDATE; SELECT pg_sleep(12); COMMIT")
                .await;
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = issue(&*store, "a", at(0)).await.unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
    holder.await.unwrap();
    until_kept(&store, "a").await;
    assert_eq!(intact(&*store).await, 2);
}
