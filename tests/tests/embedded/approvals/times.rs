//! When pending decisions and unused approvals expire.

use atlasent::wire::ExpiredReason;
use atlasent::{Agent, Context};
use atlasent_authority::approvals::{
    ApprovalError, ApprovalFilter, ApprovalState, Approver, Ballot, EscalationId, NewApproval,
    VoteRefusal,
};
use atlasent_authority::policy::ApprovalRule;
use atlasent_authority::{LocalAuthority, Policies};
use jiff::{SignedDuration, Timestamp};

use super::{
    HOLDS, TestClock, approve, ask, authority_at, builder_at, held, kinds, now_err, request, sre,
    state,
};
use crate::support::now;

#[test]
fn an_expired_decision_releases_nothing() {
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    let id = held(&authority, &request("4f2a"));
    now(authority.vote(id, Ballot::approve(sre("alice"))));
    clock.set(100);
    let late = now_err(authority.vote(id, Ballot::approve(sre("bob"))));
    assert!(matches!(
        late,
        ApprovalError::Refused(VoteRefusal::Closed(ApprovalState::TimedOut))
    ));
    assert_ne!(held(&authority, &request("4f2a")), id);
    assert!(kinds(&authority).contains(&"approval.expired".to_owned()));
}

#[test]
fn an_approval_that_is_not_used_in_time_is_lost() {
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    let id = held(&authority, &request("4f2a"));
    approve(&authority, id);
    clock.set(3_600);
    assert_ne!(held(&authority, &request("4f2a")), id);
}

#[test]
fn a_clock_that_jumps_back_does_not_prolong_a_decision() {
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    clock.set(50);
    let id = held(&authority, &request("4f2a"));
    clock.set(200);
    held(&authority, &request("ffff"));
    clock.set(0);
    let late = now_err(authority.vote(id, Ballot::approve(sre("alice"))));
    assert!(
        matches!(late, ApprovalError::Refused(VoteRefusal::Closed(_))),
        "{late}"
    );
}

#[test]
fn due_decisions_end_without_another_request() {
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    let id = held(&authority, &request("4f2a"));
    now(authority.expire_due_approvals());
    assert_eq!(state(&authority, id), ApprovalState::Pending);
    clock.set(101);
    now(authority.expire_due_approvals());
    assert_eq!(kinds(&authority).last().unwrap(), "approval.expired");
    let pending = ApprovalFilter::default().state(ApprovalState::Pending);
    assert!(
        now(authority.approvals_page(&pending, u64::MAX, 10))
            .approvals
            .is_empty()
    );
}

#[test]
fn an_escalation_asks_the_next_step_and_ends_after_the_last() {
    let policies = HOLDS.replace(
        "@quorum(\"2\")",
        "@escalate_to(\"role:director, then role:cto\")",
    );
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    now(authority.replace_policies(Policies::parse(&policies).unwrap()));
    let id = held(&authority, &request("4f2a"));
    let director = Approver::new("dan", ["director"]).unwrap();
    let early = now_err(authority.vote(id, Ballot::approve(director.clone())));
    assert!(matches!(
        early,
        ApprovalError::Refused(VoteRefusal::NotAnApprover { .. })
    ));
    clock.set(100);
    let row = now(authority.approval(id)).unwrap();
    assert_eq!((row.state, row.steps.len()), (ApprovalState::Escalated, 1));
    assert_eq!(
        held(&authority, &request("4f2a")),
        id,
        "it is still the same decision"
    );
    let intern = Approver::new("ian", ["intern"]).unwrap();
    let outsider = now_err(authority.escalate_approval(id, &intern, None));
    assert!(matches!(
        outsider,
        ApprovalError::Refused(VoteRefusal::NotAnApprover { .. })
    ));
    now(authority.escalate_approval(id, &sre("alice"), Some("urgent".to_owned())));
    let last = now_err(authority.escalate_approval(id, &sre("alice"), None));
    assert!(matches!(
        last,
        ApprovalError::Refused(VoteRefusal::LastStep)
    ));
    now(authority.vote(id, Ballot::approve(director)));
    assert!(ask(&authority, &request("4f2a")).permit_token.is_some());
}

#[test]
fn decisions_whose_time_is_over_leave_room_for_others_without_a_server() {
    let clock = TestClock::default();
    let builder = builder_at(&clock).max_approvals(2.try_into().unwrap());
    let authority = now(builder.build());
    for round in 0..3 {
        clock.set(100 * round);
        for number in 0..2 {
            held(&authority, &request(&format!("{round} {number}")));
        }
        let refused = ask(&authority, &request("another"));
        assert_eq!(refused.code.as_deref(), Some("APPROVAL_LIMIT"));
    }
    let recorded = kinds(&authority);
    let count = |kind: &str| recorded.iter().filter(|found| *found == kind).count();
    assert_eq!(count("approval.expired"), 4);
    assert_eq!(count("evaluate.deny"), 3, "each denial is recorded once");
    clock.set(300);
    asked_by_hand(&authority, 0, None);
}

#[test]
fn a_held_request_ends_what_has_been_due_for_a_second_without_a_server() {
    let clock = TestClock::default();
    let authority = authority_at(&clock);
    held(&authority, &request("1"));
    let is_ended = || kinds(&authority).contains(&"approval.expired".to_owned());
    for (second, expected) in [(100, false), (101, true)] {
        clock.set(second);
        held(&authority, &request(&second.to_string()));
        assert_eq!(is_ended(), expected, "{second}");
    }
}

/// Opens a decision by hand, which ends at a time or after 24 hours.
fn asked_by_hand(authority: &LocalAuthority, steps: u32, end: Option<Timestamp>) -> EscalationId {
    let (bot, rule) = (Agent::new("bot").unwrap(), ApprovalRule::new("by hand"));
    let new = NewApproval::new(bot, "it cannot be undone", Context::new(), rule);
    let new = new.max_escalations(steps);
    let new = match end {
        Some(end) => new.timeout_at(end),
        None => new,
    };
    now(authority.request_approval(new)).id
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

#[test]
fn only_a_decision_that_took_every_step_expires_because_its_steps_are_exhausted() {
    let expired = |authority: &LocalAuthority, id| {
        let closing = now(authority.approval(id)).unwrap().closing.unwrap();
        closing.expired.unwrap()
    };
    let policies = HOLDS.replace("@quorum(\"2\")", "@escalate_to(\"role:director\")");
    for (policies, looks, reason) in [
        (HOLDS, &[100][..], ExpiredReason::SlaExpired),
        (
            &*policies,
            &[100, 200],
            ExpiredReason::EscalationChainExhausted,
        ),
        // Nobody looked until the time of every step was over.
        (&*policies, &[1_000], ExpiredReason::SlaExpired),
    ] {
        let clock = TestClock::default();
        let authority = authority_at(&clock);
        now(authority.replace_policies(Policies::parse(policies).unwrap()));
        let id = held(&authority, &request("4f2a"));
        for look in looks {
            clock.set(*look);
            now(authority.approval(id));
        }
        assert_eq!(expired(&authority, id), reason, "{looks:?}");
    }
    for (steps, taken, reason) in [
        (0, 0, ExpiredReason::SlaExpired),
        (3, 0, ExpiredReason::SlaExpired),
        (3, 1, ExpiredReason::SlaExpired),
        (1, 1, ExpiredReason::EscalationChainExhausted),
    ] {
        let clock = TestClock::default();
        let authority = authority_at(&clock);
        let id = asked_by_hand(&authority, steps, Some(after(100)));
        for _ in 0..taken {
            now(authority.escalate_approval(id, &sre("alice"), None));
        }
        clock.set(10_000);
        assert_eq!(expired(&authority, id), reason, "{taken} of {steps}");
    }
}

#[test]
fn each_step_of_a_decision_by_hand_has_the_time_that_its_caller_gave_the_first() {
    for (end, seconds) in [
        (Some(after(600)), 600),
        (Some(after(0) + SignedDuration::from_millis(2_500)), 3),
        (None, 86_400),
    ] {
        let clock = TestClock::default();
        let authority = authority_at(&clock);
        let id = asked_by_hand(&authority, 2, end);
        for start in [1, 2] {
            clock.set(start);
            let row = now(authority.escalate_approval(id, &sre("alice"), None));
            assert_eq!(row.timeout_at, after(start + seconds), "{end:?}");
        }
    }
}
