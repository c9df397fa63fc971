//! Content that no event has: tokens, values of contexts, and JSON that encoders write in
//! different ways.

use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Agent, AnyAction, Context};
use atlasent_authority::{LocalAuthority, Policies};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::story::{PATIENT, Story, export, fields, payload, request};

/// Returns whether a value consists only of strings, booleans, integers, and arrays of these.
fn is_portable(value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Bool(_) => true,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(values) => (values.iter()).all(|v| !v.is_array() && is_portable(v)),
        Value::Null | Value::Object(_) => false,
    }
}

fn check_payloads(story: &Story) {
    for event in &story.trail().events {
        for (key, value) in fields(event) {
            assert!(is_portable(&value), "`{key}` of {event:?}");
        }
    }
}

#[test]
fn no_event_holds_a_token_or_a_context() {
    let story = Story::with_all_operations(false);
    check_payloads(&story);
    let exported = String::from_utf8(export(&story.trail())).unwrap();
    assert_eq!(story.tokens.len(), 3);
    for secret in story
        .tokens
        .iter()
        .map(|token| &**token)
        .chain([PATIENT, "Jane"])
    {
        assert!(!exported.contains(secret), "{secret} in {exported}");
    }
    assert!(!exported.contains("null"), "{exported}");
    for event in story.trail().events {
        assert!(event.payload.get("context").is_none());
    }
}

#[test]
fn why_a_policy_could_not_be_evaluated_is_always_on_record_and_quotes_no_value() {
    for record_context in [false, true] {
        let mut story = Story::begin(record_context);
        story.evaluate(&request("bot", "read", None));
        let event = story.newest();
        let errors = event.payload.get("errors").unwrap().get();
        let errors: Vec<String> = serde_json::from_str(errors).unwrap();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let words = "policy `typo`: `context.patient`: type error: expected long, got string";
        assert!(
            errors[0].starts_with("<policies>:7:") && errors[0].ends_with(words),
            "{errors:?}"
        );
    }
}

#[test]
fn a_context_is_on_record_only_when_that_is_asked_for() {
    let story = Story::with_all_operations(true);
    check_payloads(&story);
    let exported = String::from_utf8(export(&story.trail())).unwrap();
    for token in &story.tokens {
        assert!(!exported.contains(token), "{token} in {exported}");
    }
    let text = json!({ "patient": PATIENT }).to_string();
    for event in story.trail().events {
        let of_evaluation = event.envelope.kind.starts_with("evaluate.");
        assert_eq!(
            payload(&event, "context"),
            of_evaluation.then(|| text.clone())
        );
    }
    let errors = (story.trail().events.iter())
        .filter(|event| event.payload.get("errors").is_some())
        .count();
    assert_eq!(errors, 1, "one policy could not be evaluated");
}

#[test]
fn a_context_that_breaks_the_schema_is_not_on_record_either() {
    let policies = Policies::builder()
        .source("p.cedar", r"permit (principal, action, resource);")
        .schema(
            "s.cedarschema",
            r#"entity Agent; entity Resource;
               action "deploy" appliesTo { principal: Agent, resource: Resource, context: { patient: Long } };"#,
        )
        .build()
        .unwrap();
    let mut story = Story::begin(false);
    story.authority = LocalAuthority::in_memory(policies).unwrap();
    for action in ["deploy", "unknown"] {
        story.evaluate(&request("bot", action, None));
        let event = story.newest();
        assert_eq!(
            payload(&event, "code").as_deref(),
            Some("REQUEST_NOT_IN_SCHEMA")
        );
    }
    check_payloads(&story);
    let exported = String::from_utf8(export(&story.trail())).unwrap();
    assert!(!exported.contains("Jane"), "{exported}");
}

/// Generates JSON of any kind, with strings and numbers that occur only here.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u32..1_000_000).prop_map(|n| json!(7_654_321_000_000_u64 + u64::from(n))),
        (0_u32..1_000).prop_map(|n| json!(f64::from(n) + 0.765_432_1)),
        "[a-z\"\\\\\u{e9}]{0,4}".prop_map(|text| json!(format!("SECRET{text}"))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn context() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![3 => Just("patient".to_owned()), 1 => "[a-z_]{1,8}"];
    prop::collection::vec((key, value()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_the_trail_is_portable_intact_and_silent(
        contexts in prop::collection::vec((context(), prop::sample::select(vec!["deploy", "read", "drop"])), 1..5),
    ) {
        let mut story = Story::begin(false);
        for (context, action) in contexts {
            let action = AnyAction::new(action).unwrap().with_context(Context::from(context));
            let asked = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
            if let Some(token) = story.evaluate(&asked).permit_token {
                let question = VerifyRequest::restating(&asked, token);
                prop_assert!(story.verify(&question).valid);
            }
        }
        check_payloads(&story);
        prop_assert!(story.trail().verify().is_intact());
        let exported = String::from_utf8(export(&story.trail())).unwrap();
        for secret in ["SECRET", "7654321", "765432"] {
            prop_assert!(!exported.contains(secret), "{} in {}", secret, exported);
        }
        for token in &story.tokens {
            prop_assert!(!exported.contains(&**token));
        }
    }
}
