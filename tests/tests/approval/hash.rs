//! The action hash, compared with the same hash by Python's `hashlib` and `json`.

use atlasent::Context;
use atlasent::approval::{ActionBinding, action_hash};
use atlasent::wire::{EvaluateRequest, RequestOptions};

fn context(text: &str) -> Context {
    Context::parse(text).unwrap()
}

#[test]
fn unset_parts_are_null_and_an_unset_context_is_empty() {
    assert_eq!(
        action_hash(&ActionBinding::new("deploy", "bot")),
        "62c584cfed8d78bc07d10d9c736df810bf8d9a36a471831431429d48584ab361"
    );
}

#[test]
fn every_part_counts() {
    let full = || {
        ActionBinding::new("pay.wire", "bot \"é\"")
            .resource_id("acct/7")
            .amount_as_written("1.5")
            .unwrap()
            .context(context(r#"{"b":1,"a":[null,true,{"z":0.1,"y":-3}]}"#))
            .environment("production")
            .policy_version("v7")
    };
    let hash = "41c5524c1a9ace18c1fdb5f1e7e632c6bc5b27d5419b3983b32c8f2b9f4e97f8";
    assert_eq!(action_hash(&full()), hash);
    let others = [
        full().resource_id("acct/8"),
        full().amount(2),
        full().context(context("{}")),
        full().environment("staging"),
        full().environment(""),
        full().policy_version("v8"),
    ];
    let mut hashes: Vec<_> = others.iter().map(action_hash).collect();
    hashes.push(hash.to_owned());
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 7);
}

#[test]
fn keys_are_sorted_by_code_point() {
    // In UTF-16, U+1F600 would come before U+E000.
    let keys = context("{\"\u{e000}\":1,\"\u{1f600}\":2,\"é\":3,\"Z\":4,\"a\":5}");
    assert_eq!(
        action_hash(&ActionBinding::new("a", "b").context(keys)),
        "a170ba28bff2916057ab9818f783ee3e7fe1c7f30942ac145f690d6addce83fa"
    );
}

#[test]
fn numbers_are_hashed_as_they_were_written() {
    let action = || ActionBinding::new("a", "b");
    assert_eq!(
        action_hash(&action().amount(250_000)),
        "44631ff0d6030a9cf96eebc2563936324a8fbbade387acc84d0765ce69a3869f"
    );
    let hundred = serde_json::Number::from_f64(100.0).unwrap();
    let float = "eff5467ae0c8c8bcfcea1b37f1870f86a57eccf510a0bfe5f6695b749baaad96";
    assert_eq!(action_hash(&action().amount(hundred)), float);
    assert_eq!(
        action_hash(&action().amount_as_written("100.0").unwrap()),
        float
    );
    let written = action()
        .amount_as_written("1.50")
        .unwrap()
        .context(context(r#"{"price":1e2}"#));
    assert_eq!(
        action_hash(&written),
        "ee00bf2cd0158ca9ea1d0c89ef1e40ada5f9d4650dce470ea3b387c4037af1d9"
    );
}

#[test]
fn only_the_text_of_a_number_is_an_amount() {
    for text in ["0", "-7", "1e400", "1.50", "123456789012345678901234567890"] {
        assert!(
            ActionBinding::new("a", "b").amount_as_written(text).is_ok(),
            "{text}"
        );
    }
    for text in [
        "", " 1", "1 ", "01", "1.", ".5", "+1", "-", "NaN", "null", "\"1\"", "1,2", "1}", "1//1",
        "[1]", "1\n1", "0x1",
    ] {
        assert!(
            ActionBinding::new("a", "b")
                .amount_as_written(text)
                .is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_request_is_bound_by_all_of_its_parts() {
    let text = r#"{"action_type":"pay","actor_id":"bot","context":{"a":1},"resource_id":"r",
        "environment":"e","amount":5}"#;
    let request: EvaluateRequest = serde_json::from_str(text).unwrap();
    let bound = ActionBinding::new("pay", "bot")
        .context(context(r#"{"a":1}"#))
        .resource_id("r")
        .environment("e")
        .amount(5);
    assert_eq!(
        action_hash(&ActionBinding::from(&request)),
        action_hash(&bound)
    );
    let other = request.with_options(RequestOptions::default().amount(6));
    assert_ne!(
        action_hash(&ActionBinding::from(&other)),
        action_hash(&bound)
    );
}

#[test]
fn the_amount_of_a_request_is_hashed_as_it_was_written() {
    let request = |options| {
        let text = r#"{"action_type":"pay","actor_id":"bot","context":{}}"#;
        let request: EvaluateRequest = serde_json::from_str(text).unwrap();
        request.with_options(options)
    };
    let hash_of = |options| action_hash(&ActionBinding::from(&request(options)));
    let options = RequestOptions::default;
    for (number, text) in [
        (100, "100"),
        (100, "100.0"),
        (100, "1e2"),
        (i64::MAX, "9223372036854775807.0"),
        (0, "0e-7"),
    ] {
        let written = ActionBinding::new("pay", "bot").amount_as_written(text);
        let hash = hash_of(options().amount_as_written(number, text));
        assert_eq!(hash, action_hash(&written.unwrap()), "{text}");
    }
    // The text of a number that was replaced does not count.
    let bound = action_hash(&ActionBinding::new("pay", "bot").amount(7));
    let written = || options().amount_as_written(100, "100.0");
    assert_eq!(hash_of(written().amount(7)), bound);
    let replaced = request(written()).with_options(options().amount(7));
    assert_eq!(action_hash(&ActionBinding::from(&replaced)), bound);
    let merged = request(options().amount(7)).with_options(written());
    assert_eq!(
        action_hash(&ActionBinding::from(&merged)),
        hash_of(written())
    );
}

#[test]
fn debug_shows_no_value() {
    let action = ActionBinding::new("pay", "bot")
        .amount(4711)
        .context(context(r#"{"patient":"Jane Doe"}"#));
    let shown = format!("{action:?}");
    assert!(
        !shown.contains("4711") && !shown.contains("Jane"),
        "{shown}"
    );
}
