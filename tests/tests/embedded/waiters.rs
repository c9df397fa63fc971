//! Tests that those who wait for approvers learn what was decided, in this process or in another
//! one.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::approvals::{ApprovalState, Approver, Ballot, EscalationId};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{Call, FaultyStore, StoreFaults};

use crate::approvals::{HOLDS, approve, ask, request};
use crate::support::{now, now_blocking};

const HOLDS_ALL: &str = r#"
    permit (principal, action, resource);
    @decision("hold") @approvers("role:sre") forbid (principal, action, resource);
"#;

fn held(authority: &LocalAuthority<FaultyStore>, action: &'static str) -> EscalationId {
    let agent = Agent::new("bot").unwrap();
    let request = EvaluateRequest::new(agent, &AnyAction::new(action).unwrap()).unwrap();
    let answer = now(authority.evaluate(&request));
    answer.escalation_id.unwrap().parse().unwrap()
}

#[test]
fn a_waiter_that_comes_while_another_one_starts_to_look_misses_nothing() {
    let faults = StoreFaults::default();
    let store = FaultyStore::new(faults.clone());
    let build = |store| {
        let builder = LocalAuthority::builder(Policies::parse(HOLDS_ALL).unwrap());
        now(builder.store(store).build())
    };
    let there = build(store.beside());
    let here = build(store);
    let (one, other) = (held(&here, "deploy"), held(&here, "publish"));

    faults.pause(Call::Status);
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(here.wait_for_approval(one, Duration::from_secs(60)));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = pin!(here.wait_for_approval(other, Duration::from_secs(10)));
    assert!(second.as_mut().poll(&mut context).is_pending());
    let alice = Approver::new("alice", ["sre"]).unwrap();
    now(there.vote(other, Ballot::approve(alice)));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let row = futures_executor::block_on(second).unwrap().unwrap();
    assert_eq!(row.state, ApprovalState::Approved);
}

#[test]
fn a_waiter_is_woken_by_the_decision_and_dropping_it_changes_nothing() {
    let authority = Arc::new(LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap());
    let id = held_deploy(&authority);
    drop(authority.wait_for_approval(id, Duration::from_secs(60)));
    let short = now_blocking(authority.wait_for_approval(id, Duration::from_millis(20)));
    assert_eq!(short.unwrap().state, ApprovalState::Pending);
    let waiters: Vec<_> = (0..16)
        .map(|_| {
            let authority = Arc::clone(&authority);
            std::thread::spawn(move || {
                let waits = authority.wait_for_approval(id, Duration::from_secs(60));
                futures_executor::block_on(waits).unwrap().unwrap().state
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    approve(&authority, id);
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), ApprovalState::Approved);
    }
    let unknown = EscalationId::random();
    assert!(now_blocking(authority.wait_for_approval(unknown, Duration::from_secs(60))).is_none());
}

#[test]
fn a_waiter_is_woken_when_a_question_finds_that_the_policies_changed() {
    let authority = Arc::new(LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap());
    let id = held_deploy(&authority);
    let waiter = {
        let authority = Arc::clone(&authority);
        std::thread::spawn(move || {
            now_blocking(authority.wait_for_approval(id, Duration::from_secs(60)))
        })
    };
    std::thread::sleep(Duration::from_millis(50));
    let other = HOLDS.replace("two people", "two other people");
    now(authority.replace_policies(Policies::parse(&other).unwrap()));
    let start = std::time::Instant::now();
    assert_ne!(held_deploy(&authority), id);
    assert_eq!(
        waiter.join().unwrap().unwrap().state,
        ApprovalState::TimedOut
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "it waited for its own time"
    );
}

#[test]
fn a_waiter_is_woken_when_the_policies_are_replaced() {
    let authority = Arc::new(LocalAuthority::in_memory(Policies::parse(HOLDS).unwrap()).unwrap());
    let id = held_deploy(&authority);
    let waiter = {
        let authority = Arc::clone(&authority);
        std::thread::spawn(move || {
            now_blocking(authority.wait_for_approval(id, Duration::from_secs(60)))
        })
    };
    std::thread::sleep(Duration::from_millis(50));
    let start = std::time::Instant::now();
    let other = HOLDS.replace("two people", "two other people");
    now(authority.replace_policies(Policies::parse(&other).unwrap()));
    let row = waiter.join().unwrap().unwrap();
    assert_eq!(row.state, ApprovalState::TimedOut);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "it waited for its own time"
    );
}

#[test]
fn a_waiter_is_woken_when_the_time_is_over() {
    let policies = HOLDS.replace("100s", "1s");
    let authority = LocalAuthority::in_memory(Policies::parse(&policies).unwrap()).unwrap();
    let id = held_deploy(&authority);
    let row = now_blocking(authority.wait_for_approval(id, Duration::from_secs(60)));
    assert_eq!(row.unwrap().state, ApprovalState::TimedOut);
}

fn held_deploy(authority: &LocalAuthority) -> EscalationId {
    let id = ask(authority, &request("4f2a")).escalation_id.unwrap();
    id.parse().unwrap()
}
