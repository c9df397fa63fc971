//! Unit tests of the queues.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

use super::pace::Pace;
use super::queues::{Idle, WAITING};
use super::*;

fn org(id: &str) -> OrgId {
    id.parse().unwrap()
}

/// Queues a number of changes of an organization, whose callers do not wait.
fn send(group: &Group, id: &str, changes: usize) {
    let group = group.organization(&org(id));
    for _ in 0..changes {
        let commit = pin!(group.commit(Timestamp::UNIX_EPOCH, Vec::new(), |_| ()));
        let polled = commit.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
}

fn sizes(round: &mut Round) -> Vec<(String, usize)> {
    let orgs = round.orgs().iter();
    orgs.map(|org| (org.org.to_string(), org.len())).collect()
}

fn of(pairs: &[(&str, usize)]) -> Vec<(String, usize)> {
    pairs.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect()
}

#[test]
fn every_other_transaction_is_without_an_organization_that_crowds_others() {
    let (group, jobs) = queue();
    send(&group, "flood", 2_000);
    let mut first = jobs.try_next().unwrap();
    assert_eq!(sizes(&mut first), of(&[("flood", 512)]), "it is alone");
    send(&group, "calm", 3);
    first.answer(&Ok(()));
    let mut second = jobs.try_next().unwrap();
    assert_eq!(sizes(&mut second), of(&[("calm", 3), ("flood", 256)]));
    send(&group, "calm", 3);
    send(&group, "flood", 1);
    second.answer(&Ok(()));
    let next = || {
        let mut round = jobs.try_next().unwrap();
        let orgs: Vec<_> = round.orgs().iter().map(|org| org.org.to_string()).collect();
        round.answer(&Ok(()));
        orgs
    };
    assert_eq!(next(), ["calm"]);
    send(&group, "calm", 3);
    assert_eq!(next(), ["flood", "calm"]);
    send(&group, "calm", 3);
    assert_eq!(next(), ["calm"]);
    assert_eq!(next(), ["flood"]);
}

#[test]
fn organizations_that_all_have_many_changes_share_long_transactions() {
    let (group, jobs) = queue();
    send(&group, "one", 1);
    send(&group, "two", 1);
    for _ in 0..3 {
        let mut round = jobs.try_next().unwrap();
        assert_eq!(round.orgs().len(), 2);
        send(&group, "one", 600);
        send(&group, "two", 600);
        round.answer(&Ok(()));
    }
    // Both had few at first, which counts no more.
    let mut round = jobs.try_next().unwrap();
    assert_eq!(sizes(&mut round), of(&[("one", 256), ("two", 256)]));
}

#[test]
fn an_organization_that_crowds_others_gets_few_changes_into_a_transaction() {
    let (group, jobs) = queue();
    send(&group, "calm", 1);
    jobs.try_next().unwrap().answer(&Ok(()));
    let mut pace = Pace::default();
    pace.learn(1, Duration::from_millis(2));
    pace.learn(64, Duration::from_micros(8_400));
    jobs.queues.lock().pace = pace;
    send(&group, "flood", 100);
    assert_eq!(sizes(&mut jobs.try_next().unwrap()), of(&[("flood", 20)]));
}

#[test]
fn a_second_writer_gets_no_changes_of_an_organization_that_the_first_one_has() {
    let (group, jobs) = queue();
    send(&group, "a", 1);
    let first = jobs.try_next().unwrap();
    send(&group, "a", 1);
    send(&group, "b", 1);
    let mut second = jobs.try_next().unwrap();
    assert_eq!(sizes(&mut second), of(&[("b", 1)]));
    assert!(jobs.try_next().is_none());
    drop(first);
    assert_eq!(sizes(&mut jobs.try_next().unwrap()), of(&[("a", 1)]));
}

#[test]
fn waiting_writers_share_the_organizations() {
    let (group, jobs) = queue();
    let _others = [Idle::new(&jobs.queues), Idle::new(&jobs.queues)];
    for id in ["a", "b", "c", "d"] {
        send(&group, id, 1);
    }
    assert_eq!(
        sizes(&mut jobs.try_next().unwrap()),
        of(&[("a", 1), ("b", 1)])
    );
}

#[test]
fn a_full_queue_makes_its_own_organization_wait_and_no_other() {
    let (group, jobs) = queue();
    send(&group, "full", WAITING);
    let full = group.organization(&org("full"));
    let mut context = Context::from_waker(Waker::noop());
    let mut next = pin!(full.commit(Timestamp::UNIX_EPOCH, Vec::new(), |_| ()));
    assert!(next.as_mut().poll(&mut context).is_pending());
    assert_eq!(full.room.available_permits(), 0);
    send(&group, "other", 1);
    assert_eq!(jobs.queues.lock().queues.len(), 2);
    let refused = Err(StoreError::failed("refused"));
    jobs.try_next().unwrap().answer(&refused);
    // The change that waited is queued now, and those before it have left.
    assert!(next.as_mut().poll(&mut context).is_pending());
    drop(jobs);
    assert!(matches!(
        next.as_mut().poll(&mut context),
        Poll::Ready(Err(_))
    ));
}

#[test]
fn organizations_without_changes_and_groups_take_no_memory() {
    let (group, jobs) = queue();
    for number in 0..10_000 {
        send(&group, &format!("org-{number}"), 1);
        jobs.try_next().unwrap().answer(&Ok(()));
    }
    let state = jobs.queues.lock();
    assert!(state.queues.is_empty() && state.busy.is_empty() && state.ready.is_empty());
    assert!(state.rooms.len() < 100, "{}", state.rooms.len());
}

#[tokio::test]
async fn a_writer_ends_when_all_groups_are_dropped_and_all_changes_are_taken() {
    let (group, jobs) = queue();
    send(&group, "a", 1);
    drop(group);
    assert!(jobs.next().await.is_some());
    assert!(jobs.next().await.is_none());
}
