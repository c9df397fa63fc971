//! Tests that clients of one process learn what another one decided.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::approvals::{ApprovalState, Approver, Ballot, EscalationId};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{Call, FaultyStore, StoreFaults};

use crate::support::now;

const HOLDS: &str = r#"
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
        let builder = LocalAuthority::builder(Policies::parse(HOLDS).unwrap());
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
