//! `POST /v1-evaluate`: every decision in its form, and the same request again.

use serde_json::{Value, json};

use crate::stage::{Set, Stage, new_key, policies};

fn deploy(context: Value) -> Value {
    json!({ "action_type": "deploy", "actor_id": "bot", "context": context })
}

fn names(body: &Value) -> Vec<&str> {
    let mut names: Vec<_> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_allow_has_its_fields_and_nothing_else() {
    let stage = Stage::usual().await;
    let said = stage.evaluate(deploy(json!({}))).await;
    assert_eq!(said.status, 200);
    assert_eq!(
        names(&said.body),
        [
            "audit_hash",
            "decision",
            "decision_id",
            "expires_at",
            "permit_token",
            "permitted",
            "reason",
            "request_id",
            "timestamp"
        ]
    );
    assert_eq!(
        (&said.body["decision"], &said.body["permitted"]),
        (&json!("allow"), &json!(true))
    );
    assert_eq!(said.body["permit_token"], said.body["decision_id"]);
    assert_eq!(said.body["reason"], "bots may deploy");
    assert!(!said.text.contains("null"));
}

#[tokio::test]
async fn each_refusal_is_a_200_that_says_what_and_why() {
    let stage = Stage::usual().await;
    let mut legal = deploy(json!({}));
    legal["resource_id"] = json!("contract");
    let intern = json!({ "action_type": "deploy", "actor_id": "intern", "context": {} });
    let unknown = json!({ "action_type": "drop", "actor_id": "bot", "context": {} });
    for (body, decision, reason, code) in [
        (
            deploy(json!({ "replicas": 500 })),
            "hold",
            "wait",
            Some("BIG"),
        ),
        (legal, "escalate", "ask legal", Some("LEGAL")),
        (intern, "deny", "never", None),
        (
            unknown,
            "deny",
            "no policy permits this agent to take this action on this resource",
            Some("NO_MATCHING_POLICY"),
        ),
    ] {
        let said = stage.evaluate(body).await;
        assert_eq!(said.status, 200);
        assert_eq!(said.body["decision"], decision);
        assert_eq!(said.body["permitted"], false);
        for place in [
            &said.body["deny_reason"],
            &said.body["reason"],
            &said.body["denial"]["reason"],
        ] {
            assert_eq!(place, reason);
        }
        assert_eq!(said.body["deny_code"].as_str(), code);
        assert_eq!(said.body["denial"]["code"].as_str(), code);
        for name in ["request_id", "audit_hash", "timestamp"] {
            assert!(said.body[name].is_string(), "{name}");
        }
        assert!(
            said.body.get("permit_token").is_none() && !said.text.contains("null"),
            "{}",
            said.text
        );
        let wait = if decision == "hold" { "300" } else { "" };
        assert_eq!(said.header("retry-after"), wait);
    }
}

#[tokio::test]
async fn a_shadow_is_decided_and_mints_nothing() {
    let stage = Stage::usual().await;
    let mut body = deploy(json!({}));
    body["shadow"] = json!(true);
    let said = stage.evaluate(body).await;
    assert_eq!(said.body["decision"], "allow");
    for name in ["permit_token", "decision_id", "expires_at"] {
        assert!(said.body.get(name).is_none(), "{name}");
    }
    assert_eq!(stage.events("evaluate.allow").await, 1);
}

#[tokio::test]
async fn a_trace_is_given_to_whoever_asks() {
    let stage = Stage::usual().await;
    let path = "/v1-evaluate?include=constraint_trace";
    let allowed = stage.post(path, &deploy(json!({}))).await.body["constraint_trace"].clone();
    assert_eq!(allowed["matching_policy_id"], Value::Null);
    assert!(
        allowed
            .as_object()
            .unwrap()
            .contains_key("matching_policy_id")
    );
    let held = stage
        .post(path, &deploy(json!({ "replicas": 51 })))
        .await
        .body["constraint_trace"]
        .clone();
    assert_eq!(held["matching_policy_id"], "big");
    let policies = held["rules_evaluated"].as_array().unwrap();
    let ids: Vec<_> = policies
        .iter()
        .map(|policy| policy["policy_id"].as_str().unwrap())
        .collect();
    assert!(
        ids.contains(&"big") && ids.contains(&"deployers"),
        "{ids:?}"
    );
    for policy in policies {
        assert!(
            policy["fingerprint"]
                .as_str()
                .unwrap()
                .starts_with("sha256:")
        );
        assert_eq!(policy["stages"][1]["order"], 1);
    }
    assert!(
        stage
            .evaluate(deploy(json!({})))
            .await
            .body
            .get("constraint_trace")
            .is_none()
    );
}

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer() {
    let stage = Stage::usual().await;
    let mut body = deploy(json!({ "a": 1 }));
    body["request_id"] = json!("request-1");
    let first = stage.evaluate(body.clone()).await;
    assert_eq!(first.body["request_id"], "request-1");
    assert_eq!(stage.evaluate(body.clone()).await.body, first.body);
    assert_eq!(stage.events("evaluate.allow").await, 1);

    let mut other = body.clone();
    other["context"]["a"] = json!(2);
    assert_eq!(
        stage.evaluate(other).await.code(),
        (409, "REQUEST_ID_REUSED")
    );

    let token = first.body["permit_token"].clone();
    assert_eq!(
        stage.verify(json!({ "permit_token": token })).await["valid"],
        true
    );
    assert_eq!(stage.evaluate(body.clone()).await.body, first.body);
    assert_eq!(
        stage.verify(json!({ "permit_token": token })).await["outcome"],
        "permit_consumed"
    );

    let mut held = deploy(json!({ "replicas": 500 }));
    held["request_id"] = json!("request-2");
    let first = stage.evaluate(held.clone()).await;
    let again = stage.evaluate(held).await;
    assert_eq!(
        (&again.body, again.header("retry-after")),
        (&first.body, "300")
    );
}

#[tokio::test]
async fn another_key_with_the_same_request_id_is_somebody_else() {
    let authority = atlasent_authority::LocalAuthority::in_memory(policies()).unwrap();
    let (one, secret) = new_key();
    let (other, other_secret) = new_key();
    let mut set = Set::new(authority);
    set.keys = atlasent_authority::server::KeyBook::of([one, other]);
    let mut stage = set.serve(&secret).await;
    let mut body = deploy(json!({}));
    body["request_id"] = json!("request-1");
    let first = stage.evaluate(body.clone()).await;
    secrecy::ExposeSecret::expose_secret(&other_secret).clone_into(&mut stage.key);
    let others = stage.evaluate(body).await;
    assert_eq!(others.status, 200);
    assert_ne!(others.body["permit_token"], first.body["permit_token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_the_same_time_mints_one_permit() {
    let stage = Stage::usual().await;
    let mut body = deploy(json!({}));
    body["request_id"] = json!("request-1");
    let asking = (0..32).map(|_| stage.evaluate(body.clone()));
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.iter().all(|said| said.body == answers[0].body));
    assert_eq!(stage.events("evaluate.allow").await, 1);
}
