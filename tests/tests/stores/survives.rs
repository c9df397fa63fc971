//! What a store that lasts keeps over an end, a failure and a crash.

use std::fs;
use std::time::Duration;

use atlasent::{Authority, VerifyRequest};
use atlasent_authority::{EventFilter, PostgresStore, RedbStore, Store};
use atlasent_tests::Postgres;
use jiff::Timestamp;

use crate::places::{Database, File, Place};
use crate::suite::{authority, intact, is_good, issue, request};

async fn finds_everything_when_it_is_opened_again<P: Place>(place: &P) {
    let first = authority(place.open().await).await;
    let (fresh, used) = (issue(&first).await, issue(&first).await);
    assert!(is_good(&first, &used).await);
    let before = first.store().status().await.unwrap();
    drop(first);
    let again = authority(place.open().await).await;
    let after = again.store().status().await.unwrap();
    assert_eq!(
        after.head.sequence,
        before.head.sequence + 1,
        "the start is recorded"
    );
    assert!(is_good(&again, &fresh).await && !is_good(&again, &used).await);
    assert!(!is_good(&again, &fresh).await);
    intact(again.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_everything_when_it_is_opened_again() {
    finds_everything_when_it_is_opened_again(&File::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_everything_when_it_is_opened_again() {
    if let Some(place) = Database::new() {
        finds_everything_when_it_is_opened_again(&place).await;
    }
}

/// A cell whose time is over is refused as expired for an hour, and then forgotten.
async fn forgets_what_is_over_for_long<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    let token = issue(&authority).await;
    let question = VerifyRequest::restating(&request("bot"), token);
    let outcome = async |hours: i64| {
        // The chain's time goes on, however the authority's clock stands.
        let later = Timestamp::now() + jiff::SignedDuration::from_mins(60 * hours + 1);
        let change = |draft: &mut atlasent_authority::Draft<'_>| {
            drop(draft.record(atlasent_authority::NewEvent::new("policy.loaded")));
        };
        for _ in 0..2 {
            authority
                .store()
                .commit(later, Vec::new(), change)
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        authority.verify(&question).await.unwrap().outcome.unwrap()
    };
    assert_eq!(outcome(1).await, "permit_expired");
    assert_eq!(outcome(3).await, "permit_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_forgets_what_is_over_for_long() {
    forgets_what_is_over_for_long(&File::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_forgets_what_is_over_for_long() {
    if let Some(place) = Database::new() {
        forgets_what_is_over_for_long(&place).await;
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_in_words() {
    let place = File::new();
    let holder = place.open().await;
    let error = RedbStore::open(place.path()).unwrap_err().to_string();
    assert!(error.contains("another process has it open"), "{error}");
    drop(holder);
    let other = File::new();
    fs::write(
        other.path(),
        "a shopping list, and not a short one".repeat(1_000),
    )
    .unwrap();
    let error = RedbStore::open(other.path()).unwrap_err().to_string();
    assert!(error.contains("authority.redb"), "{error}");
    let nowhere = other.path().join("deeper/authority.redb");
    assert!(RedbStore::open(nowhere).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_has_everything_that_was_answered() {
    // A server of its own: the others go on.
    let Some(server) = Postgres::another() else {
        return;
    };
    let place = Database {
        address: server.database(),
    };
    let authority = authority(place.open().await).await;
    let token = issue(&authority).await;
    for _ in 0..3 {
        let known = authority.store().status().await.unwrap().head;
        server.crash();
        let refused = authority.evaluate(&request("bot")).await;
        assert!(refused.is_err(), "there is nobody who keeps it");
        server.restart();
        let events = authority
            .events(0, usize::MAX, &EventFilter::default())
            .await
            .unwrap();
        assert!(events.iter().any(|event| event.hash == known.hash));
        authority.evaluate(&request("bot")).await.unwrap();
        intact(authority.store()).await;
    }
    assert!(is_good(&authority, &token).await && !is_good(&authority, &token).await);
}

#[tokio::test]
async fn a_database_that_cannot_be_had_is_named_without_its_password() {
    let nowhere = "postgres://me:hunter2@127.0.0.1:1/permits?sslmode=disable";
    let error = PostgresStore::open(nowhere).await.unwrap_err().to_string();
    assert!(
        error.contains("127.0.0.1/permits") && !error.contains("hunter2"),
        "{error}"
    );
    for address in ["nonsense", "http://x", "postgres://h:port/d"] {
        assert!(PostgresStore::open(address).await.is_err(), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_version_are_left_alone() {
    let Some(place) = Database::new() else { return };
    drop(place.open().await);
    let (client, connection) = tokio_postgres::connect(&place.address, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .execute("UPDATE atlasent_schema SET version = 99", &[])
        .await
        .unwrap();
    let error = PostgresStore::open(&place.address)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("version 99"), "{error}");
}
