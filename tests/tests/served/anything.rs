//! Whatever is sent: an answer in one of the forms of the contract, never a failure of the server.

use atlasent_tests::quiet_panics;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::stage::Stage;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Bodies with the names that matter, and anything under them.
fn body() -> impl Strategy<Value = Value> {
    let names = prop::sample::subsequence(
        vec![
            "action_type",
            "actor_id",
            "context",
            "action",
            "agent",
            "resource_id",
            "amount",
            "environment",
            "request_id",
            "shadow",
            "explain",
            "approval",
            "require_approval",
            "permit_token",
            "execution_hash",
            "decision_id",
            "reason",
            "types",
            "from",
            "to",
        ],
        0..8,
    );
    (names, prop::collection::vec(value(), 8), any::<bool>()).prop_map(|(names, values, named)| {
        let mut body: Map<String, Value> =
            names.into_iter().map(str::to_owned).zip(values).collect();
        if named {
            body.insert("action_type".into(), json!("deploy"));
            body.insert("actor_id".into(), json!("bot"));
        }
        body.into()
    })
}

#[test]
fn anything_that_is_sent_is_answered_in_form() {
    quiet_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let stage = runtime.block_on(Stage::usual());
    let paths = [
        "/v1-evaluate?include=constraint_trace",
        "/v1-evaluate-stream",
        "/v1-verify-permit",
        "/v1-revoke-permit",
        "/v1-audit/exports",
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    let ran = runner.run(&body(), |body| {
        for path in paths {
            let said = runtime.block_on(stage.post(path, &body));
            prop_assert!(
                [200, 400, 409, 422].contains(&said.status),
                "{path}: {} {}",
                said.status,
                said.text
            );
            if said.status != 200 {
                prop_assert!(said.body["code"].is_string() && said.body["message"].is_string());
            }
            if said.body["decision"] == "allow" && body.get("shadow") != Some(&json!(true)) {
                prop_assert!(said.body["permit_token"].is_string());
            }
        }
        Ok(())
    });
    ran.unwrap();
    // And the chain of all that holds.
    let export = runtime
        .block_on(stage.post("/v1-audit/exports", &json!({})))
        .text;
    let keys = atlasent::audit::TrustedKeys::new();
    let report = atlasent::audit::BundleVerifier::new(&keys)
        .verify_bytes(&export)
        .unwrap();
    assert!(report.chain.is_intact(), "{:?}", report.chain.findings);
}
