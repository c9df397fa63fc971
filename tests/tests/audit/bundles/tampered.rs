//! Each kind of tampering.

use atlasent::audit::{BundleVerifier, Problem, TrustedKeys};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::{bundle, chain, keys, problems, sign, signed, unsigned, verify};

/// Changes the bundle without signing it again.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut bundle: Value = serde_json::from_str(&bundle()).unwrap();
    change(&mut bundle);
    bundle.to_string()
}

#[track_caller]
fn is_refused(bundle: &str) {
    if let Ok(report) = verify(bundle) {
        assert!(!report.verified() && !report.is_intact(), "{bundle}");
        assert!(report.reason.is_some(), "{bundle}");
    }
}

#[test]
fn each_field_of_each_event_counts() {
    let whole: Value = serde_json::from_str(&bundle()).unwrap();
    for (index, event) in whole["events"].as_array().unwrap().iter().enumerate() {
        for (key, value) in event.as_object().unwrap() {
            for new in [
                json!(null),
                json!("x"),
                json!(99),
                json!({}),
                json!([value]),
            ] {
                if new != *value {
                    is_refused(&changed(|bundle| bundle["events"][index][key] = new));
                }
            }
            is_refused(&changed(|bundle| {
                bundle["events"][index].as_object_mut().unwrap().remove(key);
            }));
        }
        is_refused(&changed(|bundle| {
            bundle["events"][index]["added"] = json!(1);
        }));
    }
}

#[test]
fn each_signed_member_counts() {
    for key in [
        "export_id",
        "org_id",
        "chain_head_hash",
        "event_count",
        "signed_at",
        "events",
        "signature",
    ] {
        for new in [json!(null), json!("x"), json!(99), json!([]), json!({})] {
            is_refused(&changed(|bundle| bundle[key] = new));
        }
        is_refused(&changed(|bundle| {
            bundle.as_object_mut().unwrap().remove(key);
        }));
    }
}

#[test]
fn order_drops_and_repetitions_are_noticed_even_when_they_are_signed() {
    let (events, head) = chain(&[r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
    type Change = fn(&mut Vec<String>);
    let changes: [(Change, &[Problem]); 4] = [
        (
            |events| events.swap(0, 1),
            &[Problem::NotAdjacent, Problem::SequenceGap],
        ),
        (
            |events| drop(events.remove(1)),
            &[Problem::NotAdjacent, Problem::SequenceGap],
        ),
        (|events| drop(events.pop()), &[Problem::WrongHead]),
        (
            |events| events.insert(1, events[0].clone()),
            &[Problem::NotAdjacent, Problem::SequenceGap],
        ),
    ];
    for (change, expected) in changes {
        let mut events = events.clone();
        change(&mut events);
        let report = verify(signed(&unsigned(&events, &head))).unwrap();
        assert!(report.signature_valid && !report.verified());
        for problem in expected {
            assert!(problems(&report).contains(problem), "{report:?}");
        }
    }
}

#[test]
fn the_first_reason_that_applies_is_told() {
    let (events, head) = chain(&[r#"{"n":1}"#, r#"{"n":2}"#]);
    let reason = |unsigned: &str| verify(signed(unsigned)).unwrap().reason.unwrap();
    let good = unsigned(&events, &head);
    assert_eq!(
        reason(&good.replace(r#"{"n":2}"#, r#"{"n":3}"#)),
        "hash mismatch for 1 event(s)"
    );
    assert_eq!(
        reason(&unsigned(&events, &"0".repeat(64))),
        "chain_head_hash does not match last event"
    );
    let link = format!(
        r#""previous_hash":"{}"}}]"#,
        super::hash(&"0".repeat(64), r#"{"n":1}"#)
    );
    assert!(good.ends_with(&link));
    assert_eq!(
        reason(&good.replace(&link, r#""previous_hash":""}]"#)),
        "chain adjacency broken"
    );
}

#[test]
fn a_signature_by_anyone_else_is_none() {
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let other = TrustedKeys::new()
        .raw("key-2026", other.as_bytes())
        .unwrap();
    let report = BundleVerifier::new(&other).verify_bytes(bundle()).unwrap();
    assert!(report.chain.is_intact() && !report.verified());
    assert_eq!(
        report.reason.as_deref(),
        Some("signature did not verify under any of 1 configured public key(s)")
    );
    let report = BundleVerifier::new(&TrustedKeys::new()).verify_bytes(bundle());
    let report = report.unwrap();
    assert!(report.chain.is_intact() && !report.verified());
    assert!(
        report
            .reason
            .unwrap()
            .starts_with("no signing keys configured")
    );
}

#[test]
fn the_key_that_is_named_is_tried_first_and_any_trusted_one_counts() {
    let key = super::signer().verifying_key();
    let several = |ids: [&str; 3]| {
        ids.into_iter().fold(TrustedKeys::new(), |keys, id| {
            keys.raw(id, key.as_bytes()).unwrap()
        })
    };
    let matched = |keys: &TrustedKeys, bundle: &str| {
        let report = BundleVerifier::new(keys).verify_bytes(bundle);
        report.unwrap().matched_key_id.unwrap()
    };
    assert_eq!(
        matched(&several(["a", "key-2026", "b"]), &bundle()),
        "key-2026"
    );
    assert_eq!(matched(&several(["a", "b", "c"]), &bundle()), "a");
    let unnamed = bundle().replace(r#","signing_key_id":"key-2026""#, "");
    assert_eq!(matched(&several(["a", "key-2026", "b"]), &unnamed), "a");
    // The named key does not match, but another key does.
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let keys = keys().raw("other", other.as_bytes()).unwrap();
    let misnamed = bundle().replace(
        r#""signing_key_id":"key-2026""#,
        r#""signing_key_id":"other""#,
    );
    assert_ne!(misnamed, bundle());
    assert_eq!(matched(&keys, &misnamed), "key-2026");
}

#[test]
fn a_signature_over_another_order_of_members_is_none() {
    let unsigned = unsigned(&[], &"0".repeat(64));
    let swapped = unsigned.replace(
        r#""export_id":"exp-1","org_id":"org-1""#,
        r#""org_id":"org-1","export_id":"exp-1""#,
    );
    // The order of members in the file does not matter. The order in the signed text does.
    let by_contract = sign(&format!("{unsigned}}}"));
    let by_file = sign(&format!("{swapped}}}"));
    for (signature, verified) in [(by_contract, true), (by_file, false)] {
        let report = verify(format!(r#"{swapped},"signature":"{signature}"}}"#)).unwrap();
        assert_eq!(report.verified(), verified);
    }
}

#[test]
fn no_byte_of_what_is_signed_can_be_changed() {
    let (events, head) =
        chain(&[r#"{"big":123456789012345678901234567890,"é":[2.5,"🦀\n",null]}"#]);
    let unsigned = unsigned(&events, &head);
    let bundle = signed(&unsigned);
    let original: Value = serde_json::from_str(&bundle).unwrap();
    for at in 0..unsigned.len() {
        let mut changed = bundle.clone().into_bytes();
        match at % 4 {
            0 => drop(changed.remove(at)),
            1 => changed[at] ^= 0x80,
            2 => changed[at] ^= 0x20,
            _ => changed[at] ^= 1,
        }
        if verify(&changed).is_ok_and(|report| report.verified()) {
            let says: Value = serde_json::from_slice(&changed).unwrap();
            let text = String::from_utf8_lossy(&changed);
            assert_eq!(says, original, "byte {at}: {text}");
        }
    }
}
