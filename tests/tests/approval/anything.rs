//! Nothing from outside panics, and nothing but what was signed verifies.

use atlasent::approval::{TrustedIssuers, verify_artifact, verify_quorum};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::case::{Case, now};
use crate::quorum_case::QuorumCase;

const NAMES: &[&str] = &[
    "version",
    "approval_id",
    "tenant_id",
    "action_type",
    "resource_id",
    "action_hash",
    "reviewer",
    "issuer",
    "issued_at",
    "expires_at",
    "nonce",
    "signature",
    "identity_assertion",
    "principal_id",
    "principal_kind",
    "roles",
    "issuer_id",
    "kid",
    "type",
    "subject",
    "role",
    "binding",
    "environment",
    "policy",
    "approvals",
    "required_count",
    "required_role_mix",
    "min",
    "independence",
    "max_age_seconds",
];

/// Any JSON, with the names and texts of the contract among the others.
fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z_.:0-9TZ -]{0,12}",
        Just("approval_artifact.v1".to_owned()),
        Just("identity_assertion.v1".to_owned()),
        Just("approval_quorum.v1".to_owned()),
        Just("human".to_owned()),
        Just("org-1".to_owned()),
        ".{0,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name =
        prop_oneof![4 => proptest::sample::select(NAMES).prop_map(str::to_owned), 1 => ".{0,3}"];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..8)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// The pointers to all values in a value.
fn pointers(value: &Value) -> Vec<String> {
    fn collect(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    collect(member, &format!("{at}/{name}"), all);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    collect(item, &format!("{at}/{index}"), all);
                }
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    collect(value, "", &mut all);
    all
}

proptest! {
    #[test]
    fn any_json_is_refused_and_does_not_panic(value in json()) {
        let case = QuorumCase::new();
        let trusted = case.issuers();
        prop_assert!(verify_artifact(&value, &case.expected, &trusted, now()).is_err());
        prop_assert!(verify_quorum(&value, &case.expected, &trusted, now()).is_err());
    }

    #[test]
    fn an_artifact_with_any_value_changed_is_refused(
        at in any::<prop::sample::Index>(), value in json()
    ) {
        let case = Case::new();
        let signed = case.signed();
        let pointers = pointers(&signed);
        let mut changed = signed.clone();
        *changed.pointer_mut(at.get::<String>(&pointers)).unwrap() = value;
        prop_assume!(changed != signed);
        prop_assert!(verify_artifact(&changed, &case.expected, &case.issuers(), now()).is_err());
    }

    #[test]
    fn a_quorum_with_any_value_changed_does_not_panic_and_keeps_its_approvals(
        at in any::<prop::sample::Index>(), value in json()
    ) {
        let case = QuorumCase::new();
        let signed = case.signed();
        let pointers = pointers(&signed);
        let mut changed = signed.clone();
        *changed.pointer_mut(at.get::<String>(&pointers)).unwrap() = value;
        if let Ok(verified) = verify_quorum(&changed, &case.expected, &case.issuers(), now()) {
            prop_assert_eq!(&changed["approvals"], &signed["approvals"]);
            prop_assert_eq!(verified.approvals.len(), 3);
        }
    }

    #[test]
    fn any_configuration_is_read_or_refused(text in ".{0,40}", value in json()) {
        let _ = TrustedIssuers::parse(&text);
        let _ = TrustedIssuers::parse(&value.to_string());
        let nested = serde_json::json!({"svc": {"k": value}}).to_string();
        let _ = TrustedIssuers::default().identity_issuers(&nested);
    }
}
