//! A change is stored completely or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atlasent_authority::store::{Changeset, NewEvent, PermitState, RateCounter, Store};
use atlasent_authority::trail::EventFilter;
use atlasent_tests::{Driven, drive, quiet_panics};

use crate::media::Medium;
use crate::support::{at, cell, crowd, entry, intact, issue, key, numbers, record, state};

pub(crate) async fn a_change_is_kept_whole(medium: impl Medium) {
    let store = medium.open().await;
    let reads = [cell("a"), cell("b")].concat();
    let change = |changeset: &mut Changeset<'_>| {
        for name in ["a", "b"] {
            changeset.keep_permit(key(name), entry(changeset));
            changeset.record(NewEvent::new("evaluate.allow"));
        }
        changeset.head().sequence
    };
    assert_eq!(store.commit(at(0), reads, change).await.unwrap(), 2);
    for name in ["a", "b"] {
        assert_eq!(state(&store, name).await, Some(PermitState::Issued));
    }
    assert_eq!(store.status().await.unwrap().cells, 2);
    assert_eq!(intact(&store).await, 2);
}

pub(crate) async fn a_change_that_panics_keeps_nothing_and_harms_nobody_after(medium: impl Medium) {
    quiet_panics();
    let store = Arc::new(medium.open().await);
    issue(&*store, "before", at(0)).await.unwrap();
    let panics = Arc::clone(&store);
    // In memory, the caller's own thread panics. In the other stores, the writer's thread panics.
    let happened = tokio::spawn(async move {
        let change = |changeset: &mut Changeset<'_>| {
            changeset.keep_permit(key("half"), entry(changeset));
            changeset.record(NewEvent::new("evaluate.allow"));
            panic!("scripted")
        };
        let kept: Result<(), _> = panics.commit(at(1), cell("half"), change).await;
        kept
    });
    assert!(!matches!(happened.await, Ok(Ok(()))));
    assert_eq!(state(&*store, "half").await, None);
    issue(&*store, "after", at(2)).await.unwrap();
    assert_eq!(state(&*store, "before").await, Some(PermitState::Issued));
    assert_eq!(intact(&*store).await, 2);
}

pub(crate) async fn a_change_sees_what_the_one_before_it_left(medium: impl Medium) {
    let store = Arc::new(medium.open().await);
    issue(&*store, "permit", at(0)).await.unwrap();
    // Each change adds one second to the life of the permit. The sum shows that all were applied.
    crowd(|_| {
        let store = Arc::clone(&store);
        async move {
            let change = |changeset: &mut Changeset<'_>| {
                let mut entry = changeset.permit(key("permit")).unwrap().clone();
                entry.expires_at += jiff::SignedDuration::from_secs(1);
                changeset.keep_permit(key("permit"), entry);
            };
            store.commit(at(0), cell("permit"), change).await.unwrap();
        }
    })
    .await;
    let look = |changeset: &mut Changeset<'_>| changeset.permit(key("permit")).unwrap().expires_at;
    let expires = store.commit(at(0), cell("permit"), look).await.unwrap();
    assert_eq!(expires, at(10 + 64));
    assert_eq!(intact(&*store).await, 1);
}

pub(crate) async fn a_change_that_only_looks_leaves_nothing(medium: impl Medium) {
    let store = medium.open().await;
    issue(&store, "permit", at(0)).await.unwrap();
    let before = store.status().await.unwrap();
    for _ in 0..3 {
        state(&store, "permit").await;
        state(&store, "unknown").await;
    }
    assert_eq!(store.status().await.unwrap(), before);
}

pub(crate) async fn a_caller_who_stops_waiting_takes_half_of_nothing_back(medium: impl Medium) {
    let store = Arc::new(medium.open().await);
    let finished = Arc::new(AtomicUsize::new(0));
    crowd(|number| {
        let (store, finished) = (Arc::clone(&store), Arc::clone(&finished));
        async move {
            let name = number.to_string();
            if number % 2 == 0 {
                issue(&*store, &name, at(0)).await.unwrap();
                finished.fetch_add(1, Ordering::SeqCst);
                return;
            }
            // Each of these is dropped after a few polls; some may have been stored by then.
            if let Driven::Done(done) = drive(issue(&*store, &name, at(0)), number % 5) {
                done.unwrap();
                finished.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    // Every earlier change is decided by the time this one is.
    record(&*store, "policy.loaded", None, at(1)).await;
    let mut kept = 0;
    for number in 0..64 {
        let known = state(&*store, &number.to_string()).await.is_some();
        assert!(known || number % 2 == 1);
        kept += u64::from(known);
    }
    assert!(kept >= finished.load(Ordering::SeqCst) as u64);
    // One permit and one event for each change, and those of the last change.
    assert_eq!(intact(&*store).await, kept + 1);
}

pub(crate) async fn time_never_runs_backwards(medium: impl Medium) {
    let store = medium.open().await;
    for (clock, chain) in [
        (100, 100),
        (50, 100),
        (-1_000_000, 100),
        (101, 101),
        (100, 101),
    ] {
        let time = store.commit(at(clock), Vec::new(), |changeset| {
            changeset.record(NewEvent::new("policy.loaded"));
            changeset.time()
        });
        assert_eq!(time.await.unwrap(), at(chain));
    }
    assert_eq!(store.status().await.unwrap().head.time, at(101));
    intact(&store).await;
}

pub(crate) async fn names_may_hold_any_character(medium: impl Medium) {
    let store = medium.open().await;
    let names = [
        "a\0b",
        r"a\0b",
        r"DOMAIN\bot",
        "\u{1}",
        "ü🦀",
        "'; DROP TABLE atlasent_events; --",
        "%_",
    ];
    for name in names {
        record(&store, "evaluate.deny", Some(name), at(0)).await;
    }
    for (place, name) in names.iter().enumerate() {
        let filter = EventFilter::default().actor_id(*name);
        let events = store.events(0, 10, &filter).await.unwrap();
        assert_eq!(events.len(), 1, "{name}");
        assert_eq!(events[0].actor_id.as_deref(), Some(*name));
        assert_eq!(events[0].sequence, place as u64 + 1);
        assert_eq!(store.count_events(&filter).await.unwrap(), 1);
    }
    let unknown = EventFilter::default()
        .types(["\0", "evaluate.deny\0"])
        .actor_id("\0");
    assert!(numbers(&store, 0, 10, unknown).await.is_empty());
    assert_eq!(store.count_call("a\0b", 1).await.unwrap(), 1);
    assert_eq!(store.count_call(&"x".repeat(100_000), 1).await.unwrap(), 1);
    intact(&store).await;
}
