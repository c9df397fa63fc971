//! Unusable databases are refused with a text that says why and names the database, without
//! the password.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use atlasent_authority::PostgresStore;
use atlasent_authority::store::{ApprovalList, Store};
use atlasent_tests::postgres::PrivatePostgres;
use jiff::Timestamp;

use crate::media::{Medium, Postgres};
use crate::support::{
    agrees_with_every_filter, at, escalation, intact, issue, open_decisions, record,
};

async fn refused(url: &str) -> String {
    let error = PostgresStore::connect(url).await.unwrap_err();
    let text = format!("{error}");
    assert!(!format!("{text} {error:?}").contains("hunter2"), "{text}");
    text
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_without_the_password() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = refused(&format!("postgres://user:hunter2@127.0.0.1:{port}/audit")).await;
    assert!(
        text.contains(&format!("`127.0.0.1:{port}/audit`")),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
    let text = refused("postgres://user:hunter2@no.such.host.invalid/audit").await;
    assert!(text.contains("`no.such.host.invalid:5432/audit`"), "{text}");
    let text = refused("postgres://user:hunter2@%2Fno%2Fsuch%2Ffolder/audit").await;
    assert!(text.contains("/no/such/folder"), "{text}");
    let text = refused("user:hunter2@host/audit").await;
    assert!(text.contains("write it as"), "{text}");
    refused("").await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_5_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let before = Instant::now();
    let text = refused(&format!("postgres://user:hunter2@127.0.0.1:{port}/audit")).await;
    assert!(text.contains("5 seconds"), "{text}");
    assert!(before.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_ours_is_an_error() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let server = PrivatePostgres::shared().unwrap();
    let text = refused(&server.url("no_such_database")).await;
    assert!(
        text.contains("no_such_database") && text.contains("create it"),
        "{text}"
    );
    let text = refused(&medium.url().replace("postgres@", "stranger:hunter2@")).await;
    assert!(text.contains("check the user"), "{text}");

    let reader = format!("reader_{}", medium.url().rsplit('_').next().unwrap());
    medium
        .sql(&format!(
            "CREATE ROLE {reader} LOGIN; REVOKE CREATE ON SCHEMA public FROM public"
        ))
        .await;
    let text = refused(
        &medium
            .url()
            .replace("postgres@", &format!("{reader}:hunter2@")),
    )
    .await;
    assert!(text.contains("grant it"), "{text}");
}

#[tokio::test]
async fn a_user_without_the_right_to_make_tables_can_use_those_that_are_there() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    drop(medium.open().await);
    let user = format!("user_{}", medium.url().rsplit('_').next().unwrap());
    medium
        .sql(&format!(
            "CREATE ROLE {user} LOGIN; REVOKE CREATE ON SCHEMA public FROM public; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}"
        ))
        .await;
    let url = medium.url().replace("postgres@", &format!("{user}@"));
    let store = PostgresStore::connect(&url).await.unwrap();
    record(&store, "policy.loaded", None, at(0)).await;
    assert_eq!(intact(&store).await, 1);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    drop(medium.open().await);
    medium
        .sql("INSERT INTO atlasent_schema (version) VALUES (1000)")
        .await;
    let text = refused(medium.url()).await;
    assert!(
        text.contains("version 1000") && text.contains("update it"),
        "{text}"
    );
}

/// Tables of version 2 as they were written before there were organizations: three permits and five
/// events.
const VERSION_2: &str = include_str!("old/schema-2.sql");

/// Turns tables of version 2 into those of version 1.
const TO_VERSION_1: &str = "\
    DELETE FROM atlasent_schema WHERE version = 2; \
    ALTER TABLE atlasent_cells DROP COLUMN issued; \
    DROP TABLE atlasent_api_keys_version; \
    DROP TRIGGER atlasent_api_keys_changed ON atlasent_api_keys; \
    DROP FUNCTION atlasent_api_keys_changed; \
    DROP INDEX atlasent_events_kind_actor; DROP INDEX atlasent_events_moment; \
    CREATE INDEX atlasent_events_time ON atlasent_events (occurred_at)";

#[tokio::test]
async fn tables_of_an_older_version_become_those_of_this_one() {
    for (undo, permits) in [("", 3), (TO_VERSION_1, 0)] {
        let Some(medium) = Postgres::new().await else {
            return;
        };
        medium.sql(VERSION_2).await;
        medium.sql(undo).await;
        let store = medium.open().await;
        assert_eq!(intact(&store).await, 5);
        assert_eq!(&*store.status().await.unwrap().head.org_id, "local");
        assert_eq!(store.status().await.unwrap().cells, 5);
        // Version 1 did not keep what lists of permits need.
        assert_eq!(store.permits(u64::MAX, 9).await.unwrap().len(), permits);
        let next = record(&store, "evaluate.deny", Some("bot 1"), Timestamp::now()).await;
        assert_eq!(next.sequence, 6);
        agrees_with_every_filter(&store).await;
        let decisions = vec![escalation(1)];
        open_decisions(&store, decisions, Timestamp::now())
            .await
            .unwrap();
        let open = store.approvals(ApprovalList::Open, u64::MAX, 9);
        assert_eq!(open.await.unwrap().len(), 1);
        assert!(store.check().await.unwrap().is_good());
        let versions = medium.sql("SELECT max(version) FROM atlasent_schema").await;
        assert_eq!(versions, ["5"]);
        assert!(store.organization_records().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_refused() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let server = PrivatePostgres::shared().unwrap();
    medium
        .sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        .await;
    let text = refused(&server.url("latin")).await;
    assert!(text.contains("`LATIN1`"), "{text}");
}

/// Error texts do not repeat content of the tables, which may contain anything that a caller has
/// sent.
#[tokio::test]
async fn a_head_that_cannot_be_read_is_an_error_and_no_new_chain() {
    let Some(medium) = Postgres::new().await else {
        return;
    };
    let store = medium.open().await;
    issue(&store, "a", at(0)).await.unwrap();
    medium
        .sql("UPDATE atlasent_cells SET value = '{\"hunter2\": 1}'")
        .await;
    let error = issue(&store, "a", at(0)).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    issue(&store, "b", at(0)).await.unwrap();
    medium.sql("UPDATE atlasent_head SET time = 'noon'").await;
    let error = issue(&store, "c", at(0)).await.unwrap_err();
    assert!(error.to_string().contains("time"), "{error}");
    medium.sql("DELETE FROM atlasent_head").await;
    assert!(issue(&store, "d", at(0)).await.is_err());
}
