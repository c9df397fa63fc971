//! No input makes the verifier panic, and only signed bundles verify.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{bundle, event, signed, unsigned, verify};
use atlasent::audit::{GENESIS_HASH, Payload};

/// Pieces of bundles, in any order.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "false",
        "0",
        "1e2",
        "\"",
        "\\",
        "\\u00",
        "\"bundle\":",
        "\"events\":",
        "\"events\":[",
        "{\"hash\":\"a\",\"previous_hash\":\"a\"}",
        "\"signature\":\"AA\"",
        "\"signing_key_id\":",
        "\"payload\":",
        "\"chain_head_hash\":\"a\"",
        "\"event_count\":",
        "\"tampered_event_ids\":[",
        " ",
        "é",
    ];
    prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => Just(bundle()),
        1 => any::<String>(),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Generates a payload without the keys of an envelope.
fn payload() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::hash_map("[A-Z\u{e9}\"]{0,6}", json(), 0..6)
        .prop_map(|fields| fields.into_iter().collect())
}

fn is_verified(bundle: &[u8]) -> bool {
    verify(bundle).is_ok_and(|report| report.verified())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_no_verified_bundle(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!is_verified(&bytes));
    }

    #[test]
    fn any_pieces_of_bundles_are_no_verified_bundle(pieces in prop::collection::vec(piece(), 0..24)) {
        let text = pieces.concat();
        // The pieces may happen to form a bundle, with white space or other text around it.
        prop_assert!(!is_verified(text.as_bytes()) || text.contains(&bundle()));
    }

    #[test]
    fn whatever_is_signed_is_verified_until_a_byte_of_it_changes(
        payloads in prop::collection::vec(payload(), 0..4), at in any::<prop::sample::Index>(), new in any::<u8>(),
        how in 0..3,
    ) {
        let mut head = GENESIS_HASH.to_owned();
        let mut events = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            let payload = Payload::new(payload).unwrap();
            let (text, hash) = event(index, &head, payload.as_str(), &payload.canonical_json());
            events.push(text);
            head = hash;
        }
        let unsigned = unsigned(&events, &head);
        let bundle = signed(&unsigned);
        let report = verify(&bundle).unwrap();
        prop_assert!(report.is_intact(), "{report:?}");

        let mut changed = bundle.clone().into_bytes();
        let at = at.index(unsigned.len());
        match how {
            0 => changed[at] = new,
            1 => changed.insert(at, new),
            _ => drop(changed.remove(at)),
        }
        if is_verified(&changed) {
            let value = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
            prop_assert_eq!(value(&changed), value(bundle.as_bytes()));
        }
    }
}
