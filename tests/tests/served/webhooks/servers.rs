//! Notifications of servers that restart, share a store, or get another clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent_authority::store::{Changeset, NewEvent, Store};
use atlasent_authority::{LocalAuthority, MemoryStore, RedbStore};
use atlasent_tests::server::{Reply, Request, Server as Receiver, in_order};
use jiff::{SignedDuration, Timestamp};

use super::{authority, endpoint, reasons, record, served, started, to};
use crate::support::{ms, policies, wait_until};

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_a_notification() {
    let folder = tempfile::tempdir().unwrap();
    let is_down = std::sync::Arc::new(Mutex::new(false));
    let down = std::sync::Arc::clone(&is_down);
    let receiver = Receiver::start(move |_: &Request| match *down.lock().unwrap() {
        true => Reply::status(503),
        false => Reply::status(200),
    });
    let (mut expected, mut taken) = (Vec::new(), 0);
    for round in 0..3 {
        let store = RedbStore::open(folder.path().join("store")).unwrap();
        let authority = authority(store.clone()).await;
        let served = started(authority, to([endpoint("ops", receiver.url())])).await;
        for number in 0..3 {
            let reason = format!("{round} {number}");
            record(&store, "stop.set", &reason).await;
            expected.push(reason);
        }
        wait_until("they arrive", || receiver.requests().len() == taken + 3).await;
        // The last one is recorded while the receiver is down, and the server stops then.
        *is_down.lock().unwrap() = true;
        let reason = format!("{round} last");
        record(&store, "stop.set", &reason).await;
        expected.push(reason);
        wait_until("it is attempted", || receiver.requests().len() > taken + 3).await;
        served.stop().await.unwrap().unwrap();
        drop(store);
        *is_down.lock().unwrap() = false;
        taken = receiver.requests().len();
        // Its next attempt is the first request of the next round.
        taken += 1;
    }
    let mut reasons = reasons(&receiver);
    reasons.dedup();
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn two_servers_on_one_store_deliver_each_notification_once() {
    let receiver = Receiver::start(|_: &Request| Reply::status(200));
    let store = MemoryStore::new();
    let hook = || to([endpoint("ops", receiver.url())]);
    let servers = [served(&store, hook()).await, served(&store, hook()).await];
    let mut expected = Vec::new();
    for number in 0..30 {
        record(&store, "stop.set", &number.to_string()).await;
        expected.push(number.to_string());
        tokio::time::sleep(ms(30)).await;
    }
    wait_until("all arrive", || receiver.requests().len() >= 30).await;
    tokio::time::sleep(ms(1_200)).await;
    assert_eq!(reasons(&receiver), expected);
    // When one of them ends, the other goes on.
    let [one, _other] = servers;
    one.stop().await.unwrap().unwrap();
    record(&store, "stop.set", "after").await;
    wait_until("it arrives", || receiver.requests().len() == 31).await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_delays_no_notification() {
    let answers = [200, 503, 200, 503, 200].map(Reply::status);
    let receiver = Receiver::start(in_order(answers));
    let ahead = std::sync::Arc::new(AtomicI64::new(36_000));
    let clock = std::sync::Arc::clone(&ahead);
    let now = move || Timestamp::now() + SignedDuration::from_secs(clock.load(Ordering::SeqCst));
    let store = MemoryStore::new();
    let authority = LocalAuthority::builder(policies()).store(store.clone());
    let authority = authority.clock(now).build().await.unwrap();
    let _served = started(authority, to([endpoint("ops", receiver.url())])).await;
    let late = Timestamp::now() + SignedDuration::from_secs(36_000);
    for (reason, requests) in [("first", 1), ("second", 3)] {
        let event = NewEvent::new("stop.set").with("reason", reason);
        let change = move |changeset: &mut Changeset<'_>| drop(changeset.record(event));
        store.commit(late, Vec::new(), change).await.unwrap();
        wait_until("it arrives", || receiver.requests().len() == requests).await;
    }
    // From here on, the clock is behind the chain, whose time therefore stands still.
    ahead.store(0, Ordering::SeqCst);
    record(&store, "stop.set", "third").await;
    wait_until("all arrive", || receiver.requests().len() == 5).await;
    assert_eq!(
        reasons(&receiver),
        ["first", "second", "second", "third", "third"]
    );
}
