//! Stores behind PgBouncer, which gives each transaction another connection to the database.

use std::sync::Arc;

use atlasent_authority::PostgresStore;
use atlasent_authority::store::{OrgId, Organizations, RateCounter, Store};
use atlasent_authority::trail::EventFilter;
use atlasent_tests::postgres::PrivatePostgres;

use crate::media::{Medium, Pooled, Postgres};
use crate::support::{CROWD, at, crowd, intact, issue, one_passes, record, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_behind_a_pooler_are_one() {
    let Some(medium) = Pooled::new().await else {
        return;
    };
    let time = crate::support::Time::default();
    let (one, other) = tokio::join!(medium.authority(&time), medium.authority(&time));
    let authorities = [Arc::new(one), Arc::new(other)];
    for round in 0..3 {
        let token = token(&authorities[round % 2]).await;
        one_passes(&authorities, token).await;
    }
    let ids: Vec<OrgId> = (0..3)
        .map(|n| format!("org-{n}").parse().unwrap())
        .collect();
    for id in &ids {
        let store = authorities[0].store();
        assert!(store.create_organization(id).await.unwrap());
    }
    // Twice as many organizations change at once as the pooler has connections.
    crowd(|number| {
        let store = authorities[number % 2].store();
        let store = store.organization(&ids[number % 3]);
        async move {
            for round in 0..3 {
                issue(&store, &format!("{number} {round}"), at(round))
                    .await
                    .unwrap();
                store.count_call("call", 1).await.unwrap();
                let all = EventFilter::default();
                assert!(!store.events(0, 10, &all).await.unwrap().is_empty());
            }
        }
    })
    .await;
    let mut events = 0;
    for id in &ids {
        let [one, other] = [0, 1].map(|n: usize| authorities[n].store().organization(id));
        events += intact(&one).await;
        assert_eq!(one.status().await.unwrap(), other.status().await.unwrap());
    }
    assert_eq!(events, 3 * CROWD as u64);
}

/// Settings of one store would otherwise become those of another program that shares the pooler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_setting_and_no_statement_outlives_a_transaction() {
    let Some(medium) = Pooled::new().await else {
        return;
    };
    let store = medium.open().await;
    for number in 0..20 {
        record(&store, "policy.loaded", None, at(number)).await;
        store.count_call("call", 1).await.unwrap();
        intact(&store).await;
    }
    let pooled = Postgres::at(medium.url());
    let settings = "SELECT name || ' ' || setting FROM pg_settings \
                    WHERE source = 'session' AND setting <> reset_val AND name NOT LIKE 'transaction_%' \
                        AND name NOT IN ('application_name', 'client_encoding')";
    assert_eq!(pooled.sql(settings).await, Vec::<String>::new());
    let statements = "SELECT statement FROM pg_prepared_statements WHERE name <> ''";
    assert_eq!(pooled.sql(statements).await, Vec::<String>::new());
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database \
                 WHERE locktype = 'advisory' AND datname = current_database()";
    assert_eq!(pooled.sql(locks).await, ["0"]);
}

/// Otherwise the store would take the pooler for the database, and find its prepared statements on
/// one connection only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_drops_options_is_noticed() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let server = PrivatePostgres::shared().unwrap();
    let settings = "ignore_startup_parameters = options";
    let Some(pooler) = server.pooler("dropping", settings).await else {
        return;
    };
    let name = medium.url().rsplit('/').next().unwrap();
    let store = PostgresStore::connect(&pooler.url(name)).await.unwrap();
    crowd(|number| {
        let store = store.clone();
        async move {
            issue(&store, &number.to_string(), at(0)).await.unwrap();
            store.status().await.unwrap();
            store.count_call("call", 1).await.unwrap();
        }
    })
    .await;
    assert_eq!(intact(&store).await, CROWD as u64);
}
