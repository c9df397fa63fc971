//! Two processes on one PostgreSQL database share one ledger, one chain and one count.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Authority;
use atlasent::error::PermitOutcome;
use atlasent_authority::store::{
    ApprovalList, ApprovalState, CellKey, Changeset, Organizations, RateCounter, Store,
};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, PostgresStore};

use crate::media::{Medium, Postgres};
use crate::suite::calls::count;
use crate::suite::replays::{ALICE, ask, named};
use crate::support::{
    CROWD, Time, at, crowd, decide, escalation, intact, issue, one_passes, open_count,
    open_decisions, question, record, token,
};

type Two = [Arc<LocalAuthority<PostgresStore>>; 2];

async fn two() -> Option<(Postgres, Two)> {
    let medium = Postgres::new().await?;
    let time = Time::default();
    let (one, other) = tokio::join!(medium.authority(&time), medium.authority(&time));
    Some((medium, [Arc::new(one), Arc::new(other)]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_hold_one_permit_at_two_authorities_one_passes() {
    let Some((_medium, authorities)) = two().await else {
        return;
    };
    for round in 0..8 {
        let token = token(&authorities[round % 2]).await;
        one_passes(&authorities, token).await;
    }
    intact(authorities[0].store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_one_authority_took_back_is_good_at_none() {
    let Some((_medium, [one, other])) = two().await else {
        return;
    };
    let token = token(&one).await;
    assert!(
        other
            .revoke(&token, "the bot misbehaved")
            .await
            .unwrap()
            .revoked
    );
    let answer = one.verify(&question(&token)).await.unwrap();
    assert_eq!(answer.permit_outcome(), Some(PermitOutcome::Revoked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_of_two_stores_form_one_chain() {
    let Some((_medium, authorities)) = two().await else {
        return;
    };
    let places = crowd(|number| {
        let authority = Arc::clone(&authorities[number % 2]);
        async move {
            let store = authority.store();
            let mut places = Vec::new();
            for round in 0..10 {
                // The clocks of the two processes are a minute apart.
                let now = at(60 * i64::try_from(number % 2).unwrap() + round);
                issue(store, &format!("{number} {round}"), now)
                    .await
                    .unwrap();
                places.push(
                    record(store, "evaluate.deny", Some("bot"), now)
                        .await
                        .sequence,
                );
            }
            places
        }
    })
    .await;
    assert!(places.iter().all(|places| places.is_sorted()));
    let places: HashSet<u64> = places.into_iter().flatten().collect();
    assert_eq!(places.len(), 10 * CROWD);
    let [one, other] = &authorities;
    assert_eq!(intact(one.store()).await, 2 + 20 * CROWD as u64);
    assert_eq!(
        one.store().status().await.unwrap(),
        other.store().status().await.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_two_stores_are_counted_together() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let stores = [Arc::new(medium.open().await), Arc::new(medium.open().await)];
    let everyone: Vec<u64> = (1..=10 * CROWD as u64).collect();
    let (a, b) = tokio::join!(count(&stores, "a", 1), count(&stores, "b", 1));
    assert_eq!((&a, &b), (&everyone, &everyone));
    // One clock is ahead.
    assert_eq!(stores[0].count_call("a", 2).await.unwrap(), 1);
    assert_eq!(stores[1].count_call("a", 1).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_past_minutes_are_forgotten() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    for number in 0..50 {
        store.count_call(&number.to_string(), 1).await.unwrap();
    }
    store.count_call("a", 2).await.unwrap();
    store.count_call("a", 3).await.unwrap();
    assert_eq!(
        medium.sql("SELECT count(*) FROM atlasent_calls").await,
        ["1"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_dropped_events_are_deleted_by_whoever_comes_next() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    record(&store, "policy.loaded", None, at(0)).await;
    medium
        .sql(
            "INSERT INTO atlasent_events \
             SELECT n, 'policy.loaded', NULL, '', '', '', '', 'local' FROM generate_series(2, 3500) AS n; \
             UPDATE atlasent_head SET sequence = 3500",
        )
        .await;
    let drop_most = |changeset: &mut Changeset<'_>| changeset.drop_events(3_490);
    store.commit(at(1), Vec::new(), drop_most).await.unwrap();
    // No reader sees the dropped events any more, whether they still exist or not.
    let first = store.events(0, 1, &EventFilter::default()).await.unwrap();
    assert_eq!(first[0].sequence, 3_491);
    let typed = EventFilter::default().types(["policy.loaded"]);
    assert_eq!(store.count_events(&typed).await.unwrap(), 10);
    until(&medium, "SELECT count(*) FROM atlasent_events", "10").await;

    // As if the process had stopped before it removed the dropped events.
    medium.sql("UPDATE atlasent_head SET dropped = 3495").await;
    drop(store);
    record(&medium.open().await, "policy.loaded", None, at(2)).await;
    until(&medium, "SELECT count(*) FROM atlasent_events", "6").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_that_two_stores_open_and_close_are_counted_once() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let stores = [Arc::new(medium.open().await), Arc::new(medium.open().await)];
    crowd(|number| {
        let [one, other] = [number, number + 1].map(|number| Arc::clone(&stores[number % 2]));
        async move {
            let ids = vec![escalation(2 * number), escalation(2 * number + 1)];
            open_decisions(&*one, ids.clone(), at(0)).await.unwrap();
            let first = other.approval(ids[0].key()).await.unwrap();
            assert!(first.unwrap().is_open());
            let state = ApprovalState::Approved;
            decide(&*other, vec![ids[0]], state, at(1)).await.unwrap();
        }
    })
    .await;
    for store in &stores {
        for list in [ApprovalList::Open, ApprovalList::Closed] {
            let found = store.approvals(list, u64::MAX, usize::MAX).await.unwrap();
            assert_eq!(found.len(), CROWD, "{list:?}");
        }
        assert_eq!(open_count(&**store).await, CROWD as u64);
    }
    assert!(stores[0].check().await.unwrap().is_good());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_that_cannot_be_read_refuses_no_change_of_another_organization() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    let busy = ["busy-1", "busy-2", "busy-3", "busy-4"];
    for id in ["acme", "globex"].into_iter().chain(busy) {
        let id = id.parse().unwrap();
        assert!(store.create_organization(&id).await.unwrap());
    }
    let of = |id: &str| store.organization(&id.parse().unwrap());
    let (acme, globex) = (of("acme"), of("globex"));
    medium
        .sql(
            "INSERT INTO atlasent_cells (org, key, value, expires_at) VALUES \
             ('acme', decode('6f' || repeat('00', 32), 'hex'), 'nonsense', 9000000000000000)",
        )
        .await;
    // All writers wait for locked heads, so that the changes behind them share a transaction.
    let locking = medium.sql(
        "SELECT org FROM atlasent_head WHERE org LIKE 'busy-%' FOR UPDATE; SELECT pg_sleep(2)",
    );
    let waiting = |event: &str| {
        format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND {event}"
        )
    };
    let changes = async {
        until(&medium, &waiting("wait_event = 'PgSleep'"), "1").await;
        for id in busy {
            let store = of(id);
            tokio::spawn(async move { record(&store, "policy.loaded", None, at(0)).await });
        }
        until(&medium, &waiting("wait_event_type = 'Lock'"), "4").await;
        let look = |changeset: &mut Changeset<'_>| changeset.open_approvals();
        tokio::join!(
            acme.commit(at(0), vec![CellKey::OpenApprovals], look),
            record(&globex, "policy.loaded", None, at(0)),
        )
    };
    let (_, (of_acme, of_globex)) = tokio::join!(locking, changes);
    let text = of_acme.unwrap_err().to_string();
    assert!(text.contains("an entry cannot be read"), "{text}");
    assert_eq!(of_globex.sequence, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_dropped_leaves_no_connection() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    record(&store, "policy.loaded", None, at(0)).await;
    store.count_call("a", 1).await.unwrap();
    intact(&store).await;
    let count = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_ne!(medium.sql(count).await, ["0"]);
    drop(store);
    until(&medium, count, "0").await;
}

/// Waits until a query returns true.
async fn until(medium: &Postgres, query: &str, expected: &str) {
    for _ in 0..200 {
        if medium.sql(query).await == [expected] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it stays: {:?}", medium.sql(query).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_can_be_had_again_at_another_authority() {
    let Some((_medium, authorities)) = two().await else {
        return;
    };
    let [one, other] = &authorities;
    let (first, _) = ask(one, ALICE, &named("deploy", "1")).await.unwrap();
    let again = ask(other, ALICE, &named("deploy", "1")).await.unwrap();
    assert_eq!(again, (first.clone(), true));
    assert!(ask(other, ALICE, &named("delete", "1")).await.is_none());

    let answers = crowd(|number| {
        let authority = Arc::clone(&authorities[number % 2]);
        async move { ask(&authority, ALICE, &named("deploy", "2")).await.unwrap() }
    })
    .await;
    let tokens: HashSet<_> = answers
        .iter()
        .map(|(answer, _)| answer.permit_token.as_ref().unwrap().expose().to_owned())
        .collect();
    assert_eq!(answers.iter().filter(|(_, repeated)| !repeated).count(), 1);
    assert_eq!(tokens.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_and_no_key_is_in_the_database() {
    let Some((medium, [one, _])) = two().await else {
        return;
    };
    let (answer, _) = ask(&one, ALICE, &named("deploy", "1")).await.unwrap();
    let token = answer.permit_token.unwrap();
    one.verify(&question(&token)).await.unwrap();
    let rows = medium
        .sql("SELECT t::text FROM atlasent_cells t UNION ALL SELECT t::text FROM atlasent_events t")
        .await;
    assert!(rows.len() >= 6);
    let secret = token.expose().trim_start_matches("permit_");
    for row in rows {
        assert!(
            !row.contains(secret) && !row.contains("the key of alice"),
            "{row}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_start_at_once_one_makes_the_tables() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let medium = Arc::new(medium);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let medium = Arc::clone(&medium);
            tokio::spawn(
                async move { record(&medium.open().await, "policy.loaded", None, at(0)).await },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(intact(&medium.open().await).await, 16);
    assert_eq!(
        medium
            .sql("SELECT version FROM atlasent_schema ORDER BY version")
            .await,
        ["1", "2", "3", "4", "5"]
    );
}

#[test]
fn it_can_be_used_from_a_thread_without_a_runtime() {
    use atlasent::{Error, blocking};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(medium) = runtime.block_on(Postgres::new()) else {
        return;
    };
    drop(runtime);
    let waited = blocking::wait(async {
        let store = medium.open().await;
        Ok::<_, Error>(record(&store, "policy.loaded", None, at(0)).await.sequence)
    });
    assert_eq!(waited.unwrap(), 1);
    let store = futures_executor::block_on(medium.open());
    assert_eq!(futures_executor::block_on(intact(&store)), 1);
}
