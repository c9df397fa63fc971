//! Tests that decisions end when their time or their policies are over, and that a question has one
//! open decision at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::Decision;
use atlasent_authority::approvals::{ApprovalState, EscalationId};
use atlasent_authority::store::ApprovalList;
use atlasent_authority::trail::EventFilter;
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

    fn replace(&self, policies: &str) {
        now(self
            .authority
            .replace_policies(Policies::parse(policies).unwrap()));
    }

    /// Returns the ids and the states of the decisions in a list, without bringing them up to date.
    fn list(&self, list: ApprovalList) -> Vec<(EscalationId, ApprovalState)> {
        let rows = now(self.authority.approvals(list, u64::MAX, 50));
        rows.iter().map(|row| (row.id, row.state)).collect()
    }

    fn count(&self, kind: &str) -> usize {
        let filter = EventFilter::default().types([kind]);
        now(self.authority.events(0, 100, &filter)).len()
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

#[test]
fn replaced_policies_end_the_decisions_of_the_former_ones() {
    let policies = format!(
        "{HOLDS} @id(\"publishing\") @decision(\"hold\")
         forbid (principal, action == Action::\"publish\", resource);"
    );
    let timed = Timed::new(&policies);
    let deploy = timed.held();
    let mut publish = request("4f2a");
    publish.action_type = "publish".into();
    let publish = ask(&timed.authority, &publish).escalation_id.unwrap();
    let publish: EscalationId = publish.parse().unwrap();
    now(timed.authority.expire_due_approvals());
    timed.replace(&policies.replace("two people", "two other people"));
    assert_eq!(timed.count("approval.expired"), 0);
    now(timed.authority.expire_due_approvals());
    assert_eq!(
        timed.list(ApprovalList::Open),
        [(publish, ApprovalState::Pending)]
    );
    assert_eq!(
        timed.list(ApprovalList::Closed),
        [(deploy, ApprovalState::TimedOut)]
    );
    assert_eq!(timed.count("approval.expired"), 1);
}

#[test]
fn a_decision_of_replaced_policies_is_read_as_ended() {
    let timed = Timed::new(HOLDS);
    let id = timed.held();
    timed.replace(&HOLDS.replace("two people", "two other people"));
    let row = now(timed.authority.approval(id)).unwrap();
    assert_eq!(row.state, ApprovalState::TimedOut);
    let note = row.closing.unwrap().note.unwrap();
    assert!(note.contains("policies"), "{note}");
}

#[test]
fn policies_that_are_put_back_end_nothing() {
    let timed = Timed::new(HOLDS);
    let id = timed.held();
    timed.replace(&HOLDS.replace("two people", "two other people"));
    timed.replace(HOLDS);
    now(timed.authority.expire_due_approvals());
    assert_eq!(
        timed.list(ApprovalList::Open),
        [(id, ApprovalState::Pending)]
    );
}
