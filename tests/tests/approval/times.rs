//! The edges of the times.

use atlasent::approval::Reason;
use serde_json::{Value, json};

use crate::case::Case;
use crate::quorum_case::QuorumCase;

/// The verdict with a member of the artifact, and with the same member of the assertion.
fn with(member: &str, value: Value) -> [Option<Reason>; 2] {
    let (mut artifact, mut assertion) = (Case::new(), Case::new());
    artifact.artifact[member] = value.clone();
    assertion.with_assertion(|it| it[member] = value);
    [artifact, assertion].map(|case| case.verdict().err())
}

#[test]
fn an_approval_holds_until_the_moment_of_its_expiry() {
    let expired = [Some(Reason::Expired), Some(Reason::IdentityExpired)];
    for (expires_at, is_expired) in [
        (json!("2026-11-01T12:10:00.000000001Z"), false),
        (json!("2026-11-01T12:10:01Z"), false),
        (json!("2026-11-01T13:10:00+00:00"), false),
        (json!("2026-11-01T14:10:01+02:00"), false),
        (json!("2026-11-01T12:10:01"), false),
        (json!("2026-11-02"), false),
        (json!("2026-11-01T12:10:00Z"), true),
        (json!("2026-11-01T14:10:00+02:00"), true),
        (json!("2026-11-01T12:09:59.999Z"), true),
        (json!("2026-11-01"), true),
        (json!(""), true),
        (json!("never"), true),
        (json!("2026-13-01T00:00:00Z"), true),
        (json!("99999-01-01T00:00:00Z"), true),
        (json!(4_102_444_800_u64), true),
        (Value::Null, true),
    ] {
        let expected = if is_expired {
            expired.clone()
        } else {
            [None, None]
        };
        assert_eq!(
            with("expires_at", expires_at.clone()),
            expected,
            "{expires_at}"
        );
    }
}

#[test]
fn an_approval_may_be_issued_five_minutes_in_the_future() {
    let future = [
        Some(Reason::IssuedInFuture),
        Some(Reason::IdentityIssuedInFuture),
    ];
    for (issued_at, is_future) in [
        (json!("1970-01-01T00:00:00Z"), false),
        (json!("2026-11-01T12:10:00Z"), false),
        (json!("2026-11-01T12:15:00Z"), false),
        (json!("2026-11-01T14:15:00+02:00"), false),
        (json!("2026-11-01T12:15:00.000000001Z"), true),
        (json!("2026-11-01T12:15:01Z"), true),
        (json!("9999-12-30T00:00:00Z"), true),
        (json!("yesterday"), true),
        (json!(0), true),
        (Value::Null, true),
    ] {
        let expected = if is_future {
            future.clone()
        } else {
            [None, None]
        };
        assert_eq!(
            with("issued_at", issued_at.clone()),
            expected,
            "{issued_at}"
        );
    }
}

#[test]
fn a_quorum_holds_for_its_maximum_age() {
    for (issued_at, seconds, is_expired) in [
        ("2026-11-01T12:05:00Z", json!(301), false),
        ("2026-11-01T12:05:00Z", json!(300), true),
        ("2026-11-01T12:04:59.999Z", json!(300), true),
        ("2026-11-01T12:05:00.001Z", json!(300), false),
        ("1970-01-01T00:00:00Z", json!(u64::MAX), false),
        ("1970-01-01T00:00:00Z", Value::Null, false),
        ("2026-11-01T12:15:00Z", json!(1), false),
        ("2026-11-01T12:15:01Z", json!(1), true),
        ("2026-11-01T12:15:01Z", Value::Null, false),
        ("soon", Value::Null, true),
    ] {
        let mut case = QuorumCase::new();
        case.quorum["issued_at"] = json!(issued_at);
        case.policy()["max_age_seconds"] = seconds.clone();
        let expected = is_expired.then_some(Reason::QuorumExpired);
        assert_eq!(case.verdict().err(), expected, "{issued_at} {seconds}");
    }
}
