//! Computes the hash of an event a second time by hand, and compares it with fixed hashes, so that
//! a trail of today verifies later and with other SDKs.

use atlasent::Agent;
use atlasent::audit::{ChainVerifier, Event, GENESIS_HASH, Trail, chain_hash};
use atlasent_authority::store::{ChainHead, NewEvent};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::story::{Story, export};

mod bundles;

/// Two events as another server wrote them, with another order of keys and unneeded escapes.
const FIRST: &str = r#"{
    "type": "policy.loaded", "sequence": 1, "id": "evt-1", "org_id": "org-1", "unknown": null,
    "payload": {
        "z": { "y": true, "b": [{ "k": 2, "A": 1 }] },
        "\u00e9": "\u0001\"\\\/\u007f\u2028\ud83e\udd80\n",
        "count": -7, "big": 18446744073709551615, "policies": ["a", "b"],
        "type": "policy.loaded", "sequence": 1, "id": "evt-1", "org_id": "org-1",
        "occurred_at": "2026-01-01T00:00:00.000000Z", "created_at": "2026-01-01T00:00:00.000000Z"
    },
    "occurred_at": "2026-01-01T00:00:00.000000Z", "created_at": "2026-01-01T00:00:00.000000Z",
    "hash": "b4e6de8d38b8e30167e36f9bce158d026701e1e068cf08e016fb1a0a42d754b3",
    "previous_hash": "0000000000000000000000000000000000000000000000000000000000000000"
}"#;

const FIRST_CANONICAL: &str = concat!(
    r#"{"big":18446744073709551615,"count":-7,"created_at":"2026-01-01T00:00:00.000000Z","id":"evt-1","#,
    r#""occurred_at":"2026-01-01T00:00:00.000000Z","org_id":"org-1","policies":["a","b"],"sequence":1,"#,
    r#""type":"policy.loaded","z":{"b":[{"A":1,"k":2}],"y":true},"é":"#,
    "\"\\u0001\\\"\\\\/\u{7f}\u{2028}🦀\\n\"}",
);

const SECOND: &str = r#"{
    "id": "evt-2", "org_id": "org-1", "sequence": 2, "type": "evaluate.allow", "decision": "allow",
    "actor_id": "deploy-bot", "resource_type": "Resource", "resource_id": "prod-1",
    "payload": {
        "reason": "permitted by policy `a`", "policies": ["a"], "action_type": "deploy",
        "context_hash": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "id": "evt-2", "org_id": "org-1", "sequence": 2, "type": "evaluate.allow", "decision": "allow",
        "actor_id": "deploy-bot", "resource_type": "Resource", "resource_id": "prod-1",
        "occurred_at": "2026-01-01T00:00:01.000000Z", "created_at": "2026-01-01T00:00:01.000000Z"
    },
    "hash": "b65791b3b537aa4eb4854699b8b71c14085d1ad36d8612358783fa88fba2d1e6",
    "previous_hash": "b4e6de8d38b8e30167e36f9bce158d026701e1e068cf08e016fb1a0a42d754b3",
    "occurred_at": "2026-01-01T00:00:01.000000Z", "created_at": "2026-01-01T00:00:01.000000Z"
}"#;

/// Writes canonical JSON independently: compact, with keys in code point order, the rest as
/// `serde_json` does.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.chars().cmp(b.chars()));
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(&**key), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(canonical).collect();
            format!("[{}]", values.join(","))
        }
        scalar => scalar.to_string(),
    }
}

pub(crate) fn hash(previous: &str, canonical: &str) -> String {
    let digest = Sha256::new()
        .chain_update(previous)
        .chain_update(canonical)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_golden_events_have_their_hashes() {
    let (first, second): (Value, Value) = (
        serde_json::from_str(FIRST).unwrap(),
        serde_json::from_str(SECOND).unwrap(),
    );
    assert_eq!(canonical(&first["payload"]), FIRST_CANONICAL);
    assert_eq!(
        hash(&"0".repeat(64), FIRST_CANONICAL),
        first["hash"].as_str().unwrap()
    );
    let previous = first["hash"].as_str().unwrap();
    assert_eq!(
        hash(previous, &canonical(&second["payload"])),
        second["hash"].as_str().unwrap()
    );

    let events: [Event; 2] = [FIRST, SECOND].map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(chain_hash(GENESIS_HASH, &events[0].payload), events[0].hash);
    assert_eq!(
        chain_hash(&events[0].hash, &events[1].payload),
        events[1].hash
    );
    let report = Trail::new(events.to_vec()).verify();
    assert!(report.is_intact(), "{:?}", report.findings);
}

#[test]
fn sealing_makes_the_golden_event() {
    let golden: Event = serde_json::from_str(SECOND).unwrap();
    let mut head = ChainHead {
        org_id: "org-1".into(),
        sequence: 1,
        hash: golden.previous_hash.as_str().into(),
        time: Timestamp::MIN,
    };
    let mut event = NewEvent::new("evaluate.allow")
        .with("reason", "permitted by policy `a`")
        .with("policies", vec!["a".into()])
        .with("action_type", "deploy")
        .with("context_hash", hash("", "{}"));
    event.id = "evt-2".into();
    event.decision = Some("allow");
    event.actor_id = Some(Agent::new("deploy-bot").unwrap());
    event.resource_id = Some("prod-1".into());
    let sealed = head.seal(event, "2026-01-01T00:00:01Z".parse().unwrap());
    assert_eq!(sealed.to_event().unwrap(), golden);
    assert_eq!((head.sequence, &*head.hash), (2, &*golden.hash));
}

#[test]
fn an_exported_trail_is_checked_without_this_crate() {
    let exported = export(&Story::with_all_operations(true).trail());
    let trail: Value = serde_json::from_slice(&exported).unwrap();
    let mut previous = "0".repeat(64);
    let events = trail["events"].as_array().unwrap();
    for (sequence, event) in (1_u64..).zip(events) {
        assert_eq!(event["previous_hash"], *previous);
        assert_eq!(event["sequence"], sequence);
        previous = hash(&previous, &canonical(&event["payload"]));
        assert_eq!(event["hash"], *previous);
    }
    assert_eq!(trail["chain_head_hash"], *previous);
    assert_eq!(trail["event_count"], events.len());
}

#[test]
fn an_exported_trail_verifies_event_by_event() {
    let exported = export(&Story::with_all_operations(false).trail());
    let trail: Trail = serde_json::from_slice(&exported).unwrap();
    assert_eq!(trail.events.len(), 17);
    assert!(trail.verify().is_intact());
    let mut verifier = ChainVerifier::new();
    for event in &trail.events {
        verifier.push(event);
    }
    let report = verifier.finish(trail.chain_head_hash.as_deref(), Some(17));
    assert!(report.is_intact());
    assert_eq!(report.events, 17);
}
