//! Old events move into signed bundles and leave the store, and the remaining chain verifies.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::audit::{BundleVerifier, TrustedKeys};
use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::server::{ApiKeys, Retention, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, RedbStore};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{KEY, Served, memory, policies, stored};

const DAY: i64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn old_events_go_into_a_signed_bundle_and_the_rest_starts_from_its_head() {
    let folder = tempfile::tempdir().unwrap();
    // Five events of three days ago, and the events of today.
    let ago = Arc::new(AtomicI64::new(3 * DAY));
    let clock = Arc::clone(&ago);
    let authority = LocalAuthority::builder(policies())
        .store(RedbStore::open(folder.path().join("store.redb")).unwrap())
        .clock(move || Timestamp::now() - SignedDuration::from_secs(clock.load(Ordering::SeqCst)))
        .build()
        .await
        .unwrap();
    let request = EvaluateRequest::new(
        Agent::new("bot").unwrap(),
        &AnyAction::new("deploy").unwrap(),
    );
    let request = request.unwrap();
    for _ in 0..4 {
        authority.evaluate(&request).await.unwrap();
    }
    ago.store(0, Ordering::SeqCst);
    for _ in 0..3 {
        authority.evaluate(&request).await.unwrap();
    }

    let signing = KeyRing::open(folder.path()).unwrap();
    let signer = signing.active();
    let keys = TrustedKeys::new()
        .pem(signer.key_id(), signer.public_key_pem())
        .unwrap();
    let archive = folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let server = Server::new(authority, ApiKeys::new([stored(KEY)]), signing).retain(Retention {
        keep: Duration::from_secs(2 * 24 * 3600),
        folder: archive.clone(),
    });
    let served = Served::run(server).await;
    for n in 0.. {
        assert!(n < 300, "nothing is archived");
        if served.count("audit.archived").await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let bundle = archive.join("events-000000000001-000000000005.json");
    let report = BundleVerifier::new(&keys).verify_path(&bundle).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.chain.events, 5);
    let bundle: serde_json::Value = serde_json::from_slice(&fs::read(bundle).unwrap()).unwrap();

    let page = served.get("/v1-audit/events").await.json();
    assert_eq!(
        (&page["total"], &page["events"][0]["sequence"]),
        (&json!(4), &json!(6))
    );
    assert_eq!(
        page["events"][0]["previous_hash"],
        bundle["chain_head_hash"]
    );
    assert_eq!(
        page["events"][3]["payload"]["checkpoint"],
        bundle["chain_head_hash"]
    );
    let export = served.post("/v1-audit/exports", &json!({})).await.text;
    let report = BundleVerifier::new(&keys).verify_bytes(&export).unwrap();
    assert!(report.is_intact(), "{report:?}");
}

#[tokio::test]
async fn events_that_could_not_be_archived_stay() {
    let authority = memory();
    let keys = KeyRing::in_memory().unwrap();
    let full = authority.archive(Timestamp::MAX, &keys, |_, _, _| {
        Err(std::io::ErrorKind::StorageFull.into())
    });
    assert!(full.await.is_err());
    assert_eq!(authority.trail().await.unwrap().events.len(), 1);
    // Without old events, retention does nothing.
    let none = authority.archive("2000-01-01T00:00:00Z".parse().unwrap(), &keys, |_, _, _| {
        Ok(())
    });
    assert_eq!(none.await.unwrap(), None);
}

#[tokio::test]
async fn events_that_two_processes_archive_at_the_same_time_are_recorded_once() {
    let authority = memory();
    let keys = KeyRing::in_memory().unwrap();
    // The second process archives while the first one keeps its bundle.
    let first = authority.archive(Timestamp::MAX, &keys, |_, _, _| {
        let second = authority.archive(Timestamp::MAX, &keys, |_, _, _| Ok(()));
        let second = futures_executor::block_on(second).unwrap().unwrap();
        assert_eq!((second.first, second.last), (1, 1));
        Ok(())
    });
    assert_eq!(first.await.unwrap(), None);
    let events = authority.trail().await.unwrap().events;
    let kinds: Vec<_> = events.iter().map(|event| &*event.envelope.kind).collect();
    assert_eq!(kinds, ["audit.archived"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_whose_events_were_not_dropped_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let ago = Arc::new(AtomicI64::new(3 * DAY));
    let clock = Arc::clone(&ago);
    let authority = LocalAuthority::builder(policies())
        .store(RedbStore::open(folder.path().join("store.redb")).unwrap())
        .clock(move || Timestamp::now() - SignedDuration::from_secs(clock.load(Ordering::SeqCst)))
        .build()
        .await
        .unwrap();
    let agent = Agent::new("bot").unwrap();
    let request = EvaluateRequest::new(agent, &AnyAction::new("deploy").unwrap()).unwrap();
    for _ in 0..6 {
        authority.evaluate(&request).await.unwrap();
    }
    ago.store(0, Ordering::SeqCst);
    let archive = folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    // A process was stopped after it had written all or a part of three of the seven old events.
    fs::write(archive.join("events-000000000001-000000000003.json"), "{").unwrap();
    fs::write(archive.join("events-x-000000000005.json"), "").unwrap();

    let signing = KeyRing::open(folder.path()).unwrap();
    let signer = signing.active();
    let keys = TrustedKeys::new();
    let keys = keys.pem(signer.key_id(), signer.public_key_pem()).unwrap();
    let server = Server::new(authority, ApiKeys::new([stored(KEY)]), signing).retain(Retention {
        keep: Duration::from_secs(2 * 24 * 3600),
        folder: archive.clone(),
    });
    let served = Served::run(server).await;
    for n in 0.. {
        assert!(n < 300, "not all is archived");
        if served.count("audit.archived").await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (name, events) in [
        ("000000000001-000000000003", 3),
        ("000000000004-000000000007", 4),
    ] {
        let bundle = archive.join(format!("events-{name}.json"));
        let report = BundleVerifier::new(&keys).verify_path(&bundle).unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.chain.events, events);
    }
    let page = served.get("/v1-audit/events").await.json();
    assert_eq!(
        (&page["total"], &page["events"][0]["sequence"]),
        (&json!(2), &json!(8))
    );
}
