//! Several processes on one database: here several stores, each with connections and queues of its own.

use std::collections::HashSet;
use std::sync::Arc;

use atlasent::Authority;
use atlasent_authority::{Answer, Caller, Store};

use crate::places::{Database, Place};
use crate::suite::{authority, intact, is_good, issue, request};

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_use_a_permit_in_two_places_one_gets_it() {
    let Some(place) = Database::new() else { return };
    let both = [
        authority(place.open().await).await,
        authority(place.open().await).await,
    ];
    for _ in 0..8 {
        let token = issue(&both[0]).await;
        let using = (0..64).map(|n| {
            let (authority, token) = (Arc::clone(&both[n % 2]), token.clone());
            tokio::spawn(async move { is_good(&authority, &token).await })
        });
        let using: Vec<_> = using.collect();
        let mut good = 0;
        for using in using {
            good += u32::from(using.await.unwrap());
        }
        assert_eq!(good, 1);
    }
    intact(both[1].store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_in_two_places_is_one_chain() {
    let Some(place) = Database::new() else { return };
    let both = [
        authority(place.open().await).await,
        authority(place.open().await).await,
    ];
    let recording = (0..200).map(|n| {
        let authority = Arc::clone(&both[n % 2]);
        tokio::spawn(async move {
            authority
                .evaluate(&request("bot"))
                .await
                .unwrap()
                .audit_hash
        })
    });
    let recording: Vec<_> = recording.collect();
    let mut told = HashSet::new();
    for recording in recording {
        told.insert(recording.await.unwrap());
    }
    assert_eq!(told.len(), 200);
    assert_eq!(intact(both[0].store()).await, 202);
    let (one, other) = (
        both[0].store().status().await,
        both[1].store().status().await,
    );
    assert_eq!(one.unwrap().head, other.unwrap().head);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_over_both_places() {
    let Some(place) = Database::new() else { return };
    let both = [Arc::new(place.open().await), Arc::new(place.open().await)];
    let counting = (0..100).map(|n| {
        let store = Arc::clone(&both[n % 2]);
        tokio::spawn(async move { store.count_call("key", 7).await.unwrap() })
    });
    let counting: Vec<_> = counting.collect();
    let mut counts = Vec::new();
    for counting in counting {
        counts.push(counting.await.unwrap());
    }
    counts.sort_unstable();
    assert!(counts.into_iter().eq(1..=100));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_one_place_is_repeated_by_the_other() {
    let Some(place) = Database::new() else { return };
    let both = [
        authority(place.open().await).await,
        authority(place.open().await).await,
    ];
    let mut named = request("bot");
    named.options = named.options.request_id("r");
    let caller = Caller::new("key_1", b"the same key everywhere");
    let Answer::First(first) = both[0].answer(caller, &named, None).await.unwrap() else {
        panic!("nobody asked before");
    };
    let again = both[1].answer(caller, &named, None).await.unwrap();
    assert_eq!(again, Answer::Repeated(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_open_a_database_at_the_same_time_make_its_tables_once() {
    let Some(place) = Database::new() else { return };
    let address = place.address.clone();
    let opening = (0..8).map(|_| {
        let address = address.clone();
        tokio::spawn(async move { atlasent_authority::PostgresStore::open(&address).await })
    });
    let opening: Vec<_> = opening.collect();
    for opening in opening {
        opening.await.unwrap().unwrap();
    }
}
