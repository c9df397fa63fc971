//! Tests that decisions end when their time is over, and that a question has one
//! open decision at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::Decision;
use atlasent_authority::approvals::{ApprovalState, EscalationId};
use atlasent_authority::store::ApprovalList;
use atlasent_authority::{LocalAuthority, Policies};
use jiff::Timestamp;

use crate::approvals::{HOLDS, approve, ask, request};
use crate::support::now;

/// An authority whose clock tests set, in seconds.
struct Timed {
    authority: LocalAuthority,
    seconds: Arc<AtomicI64>,
}

impl Timed {
    fn new(policies: &str) -> Self {
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&seconds);
        let builder = LocalAuthority::builder(Policies::parse(policies).unwrap());
        let builder = builder.clock(move || {
            Timestamp::from_second(1_800_000_000 + clock.load(Ordering::SeqCst)).unwrap()
        });
        let authority = now(builder.build());
        Self { authority, seconds }
    }

    fn set(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }

    fn held(&self) -> EscalationId {
        let answer = ask(&self.authority, &request("4f2a"));
        assert_eq!(answer.decision, Decision::Hold, "{answer:?}");
        answer.escalation_id.unwrap().parse().unwrap()
    }

    /// Returns the ids and the states of the decisions in a list, without bringing them up to date.
    fn list(&self, list: ApprovalList) -> Vec<(EscalationId, ApprovalState)> {
        let rows = now(self.authority.approvals(list, u64::MAX, 50));
        rows.iter().map(|row| (row.id, row.state)).collect()
    }
}

/// Policies whose hold waits for 100 seconds, three times.
fn escalating() -> String {
    let steps = "@escalate_to(\"role:director, then role:cto\")";
    HOLDS.replace("@redact", &format!("{steps} @redact"))
}

#[test]
fn a_decision_is_not_escalated_after_the_time_of_its_last_step() {
    let timed = Timed::new(&escalating());
    let old = timed.held();
    // Nothing looked at the decision for longer than all of its steps, as if a server was down.
    timed.set(300);
    let new = timed.held();
    assert_ne!(new, old, "the same question is a new one");
    now(timed.authority.expire_due_approvals());
    assert_eq!(
        timed.list(ApprovalList::Open),
        [(new, ApprovalState::Pending)]
    );
    assert_eq!(
        timed.list(ApprovalList::Closed),
        [(old, ApprovalState::TimedOut)]
    );
    assert_eq!(timed.held(), new);
    approve(&timed.authority, new);
    let released = ask(&timed.authority, &request("4f2a"));
    assert_eq!(released.decision, Decision::Allow);
    assert_eq!(released.escalation_id, Some(new.to_string()));
}

#[test]
fn a_look_that_comes_before_the_time_of_the_last_step_escalates() {
    let timed = Timed::new(&escalating());
    let id = timed.held();
    timed.set(299);
    now(timed.authority.expire_due_approvals());
    assert_eq!(
        timed.list(ApprovalList::Open),
        [(id, ApprovalState::Escalated)]
    );
    timed.set(398);
    assert_eq!(timed.held(), id);
    approve(&timed.authority, id);
    assert_eq!(
        ask(&timed.authority, &request("4f2a")).decision,
        Decision::Allow
    );
}
