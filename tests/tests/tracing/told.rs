//! Tests the log of each call: one span, one outcome, and one closing event if a body started.

use std::time::Duration;

use atlasent::error::{Code, PermitOutcome};
use atlasent::testing::{MockAuthority, Reply, ScriptedApproval};
use atlasent::wire::{Evaluation, PermitToken, Verification};
use atlasent::{AuthorityExt, Decision};
use atlasent_tests::{Driven, Kind, Seen, capture, drive, quiet_panics};
use tracing::Level;

use crate::calls::{ACTION, AGENT, Body, Call, REDACTED, TOKEN, action, async_calls, sync_calls};

fn allow() -> Reply<Evaluation> {
    let mut evaluation = Evaluation::allow(PermitToken::new(TOKEN).unwrap());
    evaluation.audit_hash = Some("a0a0".into());
    Reply::Answer(evaluation)
}

fn authority() -> MockAuthority {
    MockAuthority::new().on_evaluate(ACTION, allow())
}

fn events<'a>(seen: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    seen.iter()
        .filter(|seen| seen.kind == Kind::Event && seen.name == name)
        .collect()
}

/// Asserts the single span of a call, which names the agent and the action.
fn check_span(seen: &[Seen]) {
    let spans: Vec<_> = seen.iter().filter(|s| s.kind == Kind::Span).collect();
    assert_eq!(spans.len(), 1, "{seen:?}");
    let span = spans[0];
    assert_eq!(
        (&*span.name, &*span.target, span.level),
        ("protect", "atlasent", Level::INFO)
    );
    for (field, value) in [
        ("action", ACTION),
        ("agent", AGENT),
        ("resource", "record-7"),
    ] {
        assert_eq!(span.field(field), Some(value));
    }
}

/// Returns the single event of an outcome, inside the span.
fn outcome<'a>(seen: &'a [Seen], name: &str) -> &'a Seen {
    check_span(seen);
    let found = events(seen, name);
    assert_eq!(found.len(), 1, "{seen:?}");
    let duration = found[0].field("duration_us").unwrap();
    assert!(duration.parse::<u64>().is_ok(), "{duration}");
    let span = found[0].span.as_ref().unwrap();
    assert_eq!(span["action"], ACTION);
    assert_eq!(span["agent"], AGENT);
    found[0]
}

fn check_closing(seen: &[Seen], expected: &str, path: &str) {
    let closing = events(seen, "executed");
    assert_eq!(closing.len(), 1, "{path}: {seen:?}");
    let closing = closing[0];
    assert_eq!((&*closing.target, closing.level), ("atlasent", Level::INFO));
    for (field, value) in [
        ("action", ACTION),
        ("agent", AGENT),
        ("permit", REDACTED),
        ("audit_hash", "a0a0"),
        ("outcome", expected),
    ] {
        assert_eq!(closing.field(field), Some(value), "{path}");
    }
    let duration: u64 = closing.field("duration_us").unwrap().parse().unwrap();
    assert!(duration < 60_000_000, "{path} took {duration} µs");
}

fn check_call(path: &str, call: Call<MockAuthority>, body: Body, expected: &str) {
    let (_, seen) = capture(|| call(&authority(), body));
    let permitted = outcome(&seen, "permitted");
    assert_eq!(permitted.level, Level::INFO);
    for (field, value) in [
        ("decision", "allow"),
        ("permit", REDACTED),
        ("audit_hash", "a0a0"),
    ] {
        assert_eq!(permitted.field(field), Some(value), "{path}");
    }
    check_closing(&seen, expected, path);
    assert_eq!(seen.len(), 3, "{path}: {seen:?}");
}

#[test]
fn an_execution_closes_once_with_its_outcome() {
    quiet_panics();
    for (path, call) in async_calls().into_iter().chain(sync_calls()) {
        check_call(path, call, Body::Completes, "completed");
        check_call(path, call, Body::Fails, "failed");
        check_call(path, call, Body::Panics, "failed");
    }
    for (path, call) in async_calls() {
        check_call(path, call, Body::Hangs, "cancelled");
    }
}

#[test]
fn the_closing_event_has_the_body_s_duration() {
    let (_, seen) = capture(|| {
        atlasent::blocking::with_permit(&authority(), AGENT, action(), |_permit| {
            std::thread::sleep(Duration::from_millis(2));
            Ok::<_, atlasent::Error>(())
        })
    });
    let closing = events(&seen, "executed")[0];
    let duration: u64 = closing.field("duration_us").unwrap().parse().unwrap();
    assert!(duration >= 2_000, "{duration} µs");
}

#[test]
fn a_permit_alone_is_no_execution() {
    let (happened, seen) = capture(|| drive(authority().protect(AGENT, action()), 1));
    assert!(matches!(happened, Driven::Done(Ok(_))));
    outcome(&seen, "permitted");
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_refusal_is_told_with_its_decision_and_reason() {
    for decision in [Decision::Deny, Decision::Hold, Decision::Escalate] {
        let mut evaluation = Evaluation::refuse(decision, "not at night");
        evaluation.code = Some("NIGHT".into());
        evaluation.decision_id = Some("d-1".into());
        evaluation.audit_hash = Some("b1b1".into());
        let authority = MockAuthority::new().on_evaluate(ACTION, Reply::Answer(evaluation));
        for (path, call) in async_calls().into_iter().chain(sync_calls()) {
            let (_, seen) = capture(|| call(&authority, Body::Completes));
            let refused = outcome(&seen, "refused");
            assert_eq!(refused.level, Level::WARN, "{path}");
            for (field, value) in [
                ("decision", decision.as_str()),
                ("reason", "not at night"),
                ("code", "NIGHT"),
                ("evaluation_id", "d-1"),
                ("audit_hash", "b1b1"),
            ] {
                assert_eq!(refused.field(field), Some(value), "{path}");
            }
            assert_eq!(seen.len(), 2, "no body ran: {seen:?}");
        }
    }
}

#[test]
fn a_permit_that_fails_its_verification_is_told_as_a_refusal() {
    let expired = Verification::refuse(Some(PermitOutcome::Expired), "too late");
    let authority = authority().on_verify(ACTION, Reply::Answer(expired));
    for (path, call) in async_calls().into_iter().chain(sync_calls()) {
        let (_, seen) = capture(|| call(&authority, Body::Completes));
        let refused = outcome(&seen, "refused");
        assert_eq!(refused.field("decision"), Some("deny"), "{path}");
        assert_eq!(
            refused.field("reason"),
            Some("Permit failed verification (permit_expired)"),
            "{path}"
        );
        assert_eq!(refused.field("code"), Some("PERMIT_EXPIRED"), "{path}");
        assert_eq!(refused.field("audit_hash"), Some("a0a0"), "{path}");
        assert_eq!(seen.len(), 2, "no body ran: {seen:?}");
    }
}

#[test]
fn a_failed_call_is_told_with_its_code() {
    for authority in [
        MockAuthority::new().on_evaluate(ACTION, Reply::Fail(Code::Timeout)),
        authority().on_verify(ACTION, Reply::Fail(Code::Timeout)),
    ] {
        for (path, call) in async_calls().into_iter().chain(sync_calls()) {
            let (_, seen) = capture(|| call(&authority, Body::Completes));
            let failed = outcome(&seen, "no answer");
            assert_eq!(failed.level, Level::ERROR, "{path}");
            assert_eq!(failed.field("code"), Some("timeout"), "{path}");
            assert!(
                failed.field("error").unwrap().contains("scripted"),
                "{path}"
            );
            assert_eq!(seen.len(), 2, "no body ran: {seen:?}");
        }
    }
}

#[test]
fn a_call_cancelled_before_its_permit_closes_nothing() {
    let authority = authority().on_verify(ACTION, Reply::Never);
    for (path, call) in async_calls() {
        let (happened, seen) = capture(|| call(&authority, Body::Completes));
        assert!(matches!(happened, Driven::Pending), "{path}");
        check_span(&seen);
        assert_eq!(seen.len(), 1, "{path}: {seen:?}");
    }
}

#[test]
fn a_wait_for_approvers_is_told_in_the_span_of_its_request() {
    for approval in [ScriptedApproval::approve(), ScriptedApproval::pending()] {
        let script = MockAuthority::new().hold_for_approval(ACTION, "two people", approval);
        let ask = || script.ask(AGENT, action()).wait(Duration::from_secs(600));
        let (_, seen) = capture(|| drive(ask().protect(), 1));
        check_span(&seen);
        let waiting = events(&seen, "waiting for approval");
        assert_eq!(waiting.len(), 1, "{seen:?}");
        assert_eq!(waiting[0].level, Level::INFO);
        assert_eq!(waiting[0].field("escalation_id"), Some("esc_mock_00000000"));
        assert_eq!(waiting[0].field("at_most_s"), Some("600"));
        assert_eq!(waiting[0].span.as_ref().unwrap()["action"], ACTION);
    }
}
