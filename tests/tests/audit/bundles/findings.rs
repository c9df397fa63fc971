//! Findings beyond the checks of the other SDKs, reported beside their verdict.

use atlasent::audit::{GENESIS_HASH, Problem};

use super::{chain, event, problems, signed, unsigned, verify};

/// Signs the bundle again after a change, so that only the finding remains.
#[track_caller]
fn found(unsigned: &str) -> Vec<Problem> {
    let report = verify(signed(unsigned)).unwrap();
    assert!(report.verified(), "{report:?}");
    assert_eq!(report.is_intact(), report.chain.findings.is_empty());
    problems(&report)
}

fn good() -> String {
    let (events, head) = chain(&[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
    unsigned(&events, &head)
}

#[test]
fn a_contradiction_is_reported_and_does_not_change_the_verdict() {
    let cases: [(&str, &str, &[Problem]); 13] = [
        (
            r#""event_count":3"#,
            r#""event_count":4"#,
            &[Problem::WrongCount],
        ),
        (r#""event_count":3,"#, "", &[Problem::WrongCount]),
        (
            r#""event_count":3"#,
            r#""event_count":"3""#,
            &[Problem::WrongCount],
        ),
        (
            r#""event_count":3"#,
            r#""event_count":1,"event_count":3"#,
            &[Problem::RepeatedKey],
        ),
        (
            r#""sequence":2"#,
            r#""sequence":7"#,
            &[Problem::SequenceGap, Problem::SequenceGap],
        ),
        (r#""sequence":3,"#, "", &[Problem::SequenceGap]),
        (
            r#""id":"evt-1""#,
            r#""id":"x","id":"evt-1""#,
            &[Problem::RepeatedKey],
        ),
        (r#"{"n":2}"#, r#"{"n":1,"n":2}"#, &[Problem::RepeatedKey]),
        (
            r#""occurred_at":"2026-01-01T00:00:01Z","#,
            "",
            &[Problem::UnreadableTime],
        ),
        (
            "2026-01-01T00:00:01Z",
            "yesterday",
            &[Problem::UnreadableTime],
        ),
        (
            "2026-01-01T00:00:00Z\",\"created_at",
            "2026-01-01T00:00:09Z\",\"created_at",
            &[Problem::TimeRunsBackwards],
        ),
        (
            "{\"export_id\"",
            "{\"chain_integrity_ok\":false,\"export_id\"",
            &[Problem::ExporterDisagrees],
        ),
        (
            "{\"export_id\"",
            "{\"tampered_event_ids\":[\"evt-1\"],\"export_id\"",
            &[Problem::ExporterDisagrees],
        ),
    ];
    assert!(found(&good()).is_empty());
    for (from, to, expected) in cases {
        let changed = good().replacen(from, to, 1);
        assert_ne!(changed, good(), "{from}");
        // The signed text has no repeated keys and no unsigned members.
        let meant = match expected {
            [Problem::ExporterDisagrees] => good(),
            [Problem::RepeatedKey] => good(),
            _ if to.is_empty() && from.contains("count") => {
                changed.replace(r#""signed_at""#, r#""event_count":null,"signed_at""#)
            }
            _ => changed.clone(),
        };
        let signature = super::sign(&format!("{meant}}}"));
        let report = verify(format!(r#"{changed},"signature":"{signature}"}}"#)).unwrap();
        assert!(report.verified() && !report.is_intact(), "{to}: {report:?}");
        assert_eq!(problems(&report), expected, "{to}");
    }
}

#[test]
fn an_envelope_that_says_something_else_than_its_payload_is_found() {
    let payload = format!(r#"{{{},"n":1.50}}"#, super::envelope(0));
    let canonical = r#"{"created_at":"2026-01-01T00:00:00Z","id":"evt-0","n":1.50,"occurred_at":"2026-01-01T00:00:00Z","org_id":"org-1","sequence":1,"type":"evaluate.allow"}"#;
    let (event, head) = event(0, GENESIS_HASH, &payload, canonical);
    let good = unsigned(&[event], &head);
    assert!(found(&good).is_empty());
    for (from, to) in [
        (r#""id":"evt-0","org_id""#, r#""id":"evt-9","org_id""#),
        (r#""type":"evaluate.allow""#, r#""type":"evaluate.deny""#),
        (
            r#""org_id":"org-1","sequence":1"#,
            r#""org_id":"org-2","sequence":1"#,
        ),
        (r#""hash":"#, r#""actor_id":"somebody","hash":"#),
    ] {
        let (start, events) = good.split_once("\"events\":").unwrap();
        let changed = format!("{start}\"events\":{}", events.replacen(from, to, 1));
        assert_ne!(changed, good);
        assert_eq!(
            found(&changed),
            [Problem::EnvelopeContradictsPayload],
            "{to}"
        );
    }
}

#[test]
fn a_payload_that_is_no_object_is_found() {
    for (payload, canonical) in [
        ("0", "{}"),
        ("\"\"", "{}"),
        ("[]", "{}"),
        ("[1]", "[1]"),
        ("\"x\"", "\"x\""),
    ] {
        let (event, head) = event(0, GENESIS_HASH, payload, canonical);
        assert_eq!(
            found(&unsigned(&[event], &head)),
            [Problem::PayloadIsNoObject],
            "{payload}"
        );
    }
    let (event, head) = event(0, GENESIS_HASH, "null", "{}");
    assert!(found(&unsigned(&[event], &head)).is_empty());
}

#[test]
fn of_events_that_stand_twice_the_last_ones_count() {
    let (events, head) = chain(&[r#"{"n":1}"#]);
    let empty = unsigned(&[], GENESIS_HASH).replace("[]", "null");
    for (unsigned, counts) in [(unsigned(&events, &head), 1), (empty, 0)] {
        let good = signed(&unsigned);
        for first in [
            "[7]",
            "[{}]",
            "null",
            "[{\"hash\":\"x\",\"previous_hash\":\"y\"}]",
        ] {
            let twice = good.replacen('{', &format!("{{\"events\":{first},"), 1);
            let report = verify(twice).unwrap();
            assert!(
                report.verified() && report.chain.events == counts,
                "{first}: {report:?}"
            );
            assert_eq!(problems(&report), [Problem::RepeatedKey]);
        }
        assert!(verify(good.replace(",\"signature\"", ",\"events\":[7],\"signature\"")).is_err());
    }
}

#[test]
fn a_flood_of_damage_is_counted_and_not_kept() {
    let id = "x".repeat(5_000);
    let damaged = format!(r#"{{"id":"{id}","hash":"h","previous_hash":"p"}}"#);
    let events = vec![damaged; 1_500];
    let report = verify(signed(&unsigned(&events, "h"))).unwrap();
    assert_eq!(
        report.reason.as_deref(),
        Some("hash mismatch for 1500 event(s)")
    );
    assert_eq!(
        (report.chain.tampered, report.chain.tampered_event_ids.len()),
        (1_500, 1_000)
    );
    assert!(report.chain.found > 4_500 && report.chain.findings.len() == 1_000);
    assert!(
        report
            .chain
            .tampered_event_ids
            .iter()
            .all(|id| id.len() == 256)
    );
}
