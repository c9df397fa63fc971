//! Permits by their public ids, over HTTP: the ids give access to data only.

use atlasent::Error;
use atlasent::client::PermitFilter;
use atlasent::wire::PermitStatus;
use atlasent_authority::LocalAuthority;
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use futures_util::TryStreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, KEY, Served, Time, deploy, evaluate_body, memory, names, policies, stored, with,
};

const LIVE: &str = "ask_live_0123456789";

/// Sends a request with this key.
async fn ask(served: &Served, key: &str, method: Method, target: &str, body: &Value) -> Answer {
    let request = served
        .bare(method, target)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body.to_string());
    Answer::receive(request).await
}

async fn with_keys(keys: impl IntoIterator<Item = ApiKey>) -> Served {
    let ring = KeyRing::in_memory().unwrap();
    Served::run(Server::new(memory(), ApiKeys::new(keys), ring)).await
}

#[tokio::test]
async fn a_permit_is_found_by_its_id_and_has_exactly_its_fields() {
    let served = Served::start().await;
    let granted = served
        .evaluate(&with(deploy(), &json!({"resource_id": "api"})))
        .await
        .json();
    let id = granted["permit_id"].as_str().unwrap();
    assert!(id.starts_with("pt_") && id.len() == 3 + 32);
    assert_ne!(granted["permit_id"], granted["permit_token"]);
    let permit = served.get(&format!("/v1/permits/{id}")).await.json();
    assert_eq!(
        names(&permit),
        [
            "action_id",
            "actor_id",
            "decision_id",
            "environment",
            "expires_at",
            "id",
            "issued_at",
            "org_id",
            "payload_hash",
            "status",
            "target_id"
        ]
    );
    assert_eq!(permit["environment"], "production");
    assert_eq!(permit["target_id"], "api");
    assert_eq!(permit["status"], "issued");
    let token = granted["permit_token"].as_str().unwrap();
    assert!(!permit.to_string().contains(token));
    // The id does not work as a token.
    let opened = served.verify(&json!({"permit_token": id})).await.json();
    assert_eq!(opened["outcome"], "permit_not_found");
    // The hash of the permit in the trail begins with the id's digits.
    let events = served.events().await;
    let hash = events[1]["payload"]["permit_hash"].as_str().unwrap();
    assert!(hash.starts_with(&id[3..]));
    assert_eq!(events[1]["id"], permit["decision_id"]);
}

#[tokio::test]
async fn our_client_reads_lists_and_revokes_what_the_server_has() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    let mut ids = Vec::new();
    for _ in 0..7 {
        let granted = served.evaluate(&deploy()).await.json();
        ids.push(granted["permit_id"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    let filter = PermitFilter::default().limit(3);
    let listed: Vec<_> = client
        .permit_stream(filter)
        .map_ok(|permit| permit.id)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed, ids);

    let looked = client.inspect_permit(&ids[0]).await.unwrap();
    assert!(looked.valid && looked.permit.status == PermitStatus::Issued);
    let revoked = client
        .revoke_permit_by_id(&ids[0], Some("why"))
        .await
        .unwrap();
    assert_eq!(revoked.status, PermitStatus::Revoked);
    assert_eq!(revoked.revoke_reason.as_deref(), Some("why"));
    assert_eq!(revoked.revoked_by, Some(stored(KEY).key_id));
    let looked = client.inspect_permit(&ids[0]).await.unwrap();
    assert!(!looked.valid && looked.reason.is_some());
    // A second revocation changes nothing and is not an error.
    client.revoke_permit_by_id(&ids[0], None).await.unwrap();
    assert_eq!(served.count("permit.revoked").await, 1);
    let open = PermitFilter::default().status(PermitStatus::Issued);
    assert_eq!(client.list_permits(&open).await.unwrap().total, 6);
    let unknown = client
        .get_permit("pt_00000000000000000000000000000000")
        .await;
    assert!(matches!(unknown, Err(Error::Failed(failure)) if failure.status() == Some(404)));
}

#[tokio::test]
async fn a_used_or_expired_permit_cannot_be_revoked() {
    let time = Time::new();
    let authority = LocalAuthority::builder(policies()).clock(time.clock());
    let authority = authority.build().await.unwrap();
    let served = Served::run(crate::support::server(authority)).await;
    let granted = served.evaluate(&deploy()).await.json();
    let late = served.evaluate(&deploy()).await.json();
    let target = |granted: &Value| {
        format!(
            "/v1/permits/{}/revoke",
            granted["permit_id"].as_str().unwrap()
        )
    };
    served
        .verify(&json!({"permit_token": granted["permit_token"]}))
        .await;
    served
        .post(&target(&granted), &json!({}))
        .await
        .is_problem(409, "PERMIT_ALREADY_USED");
    time.set(7_200);
    served
        .post(&target(&late), &json!({"reason": "late"}))
        .await
        .is_problem(410, "PERMIT_EXPIRED");
    for id in [
        "pt_",
        "pt_00000000000000000000000000000000",
        "x",
        "..%2f..",
        "%00",
    ] {
        served
            .post(&format!("/v1/permits/{id}/revoke"), &json!({}))
            .await
            .is_problem(404, "PERMIT_NOT_FOUND");
    }
}

#[tokio::test]
async fn lists_take_each_filter_and_refuse_what_cannot_be_read() {
    let served = Served::start().await;
    served.evaluate(&deploy()).await;
    served
        .evaluate(&with(deploy(), &json!({"actor_id": "other bot"})))
        .await;
    for (query, total) in [
        ("", 2),
        ("?actor_id=other%20bot", 1),
        ("?actor_id=other+bot", 1),
        ("?actor%5Fid=other%20bot", 1),
        ("?%61ction%5ftype=drop", 0),
        ("?action_type=deploy", 2),
        ("?action_type=drop", 0),
        ("?status=issued&actor_id=deploy-bot", 1),
        ("?status=verified", 0),
        ("?from=2000-01-01", 2),
        ("?to=2000-01-01", 0),
        ("?limit=1", 2),
        ("?limit=100000&unknown=1", 2),
        ("?cursor=before_1", 2),
    ] {
        let page = served.get(&format!("/v1/permits{query}")).await.json();
        assert_eq!(page["total"], total, "{query}");
    }
    for query in [
        "?status=good",
        "?limit=0",
        "?limit=x",
        "?cursor=after_1",
        "?actor_id=%ff",
        "?actor_id%ff=a",
        &format!("?actor_id={}", "a".repeat(257)),
    ] {
        let answer = served.get(&format!("/v1/permits{query}")).await;
        answer.is_problem(400, "INVALID_QUERY");
    }
    let answer = served.get("/v1/permits?from=yesterday").await;
    answer.is_problem(400, "INVALID_TIME");
}

#[tokio::test]
async fn an_id_that_is_not_utf8_names_no_permit() {
    let served = Served::start().await;
    for id in ["%FF", "pt_%C3", "pt_%ff%fe", "%00"] {
        let path = format!("/v1/permits/{id}");
        served.get(&path).await.is_problem(404, "PERMIT_NOT_FOUND");
        for verb in ["revoke", "verify"] {
            let answer = served.post(&format!("{path}/{verb}"), &json!({})).await;
            answer.is_problem(404, "PERMIT_NOT_FOUND");
        }
        let receipt = json!({"permit_token": "t", "outcome": "completed", "duration_ms": 1});
        let answer = served.post(&format!("{path}/complete"), &receipt).await;
        answer.is_problem(403, "PERMIT_TOKEN_MISMATCH");
    }
    let metrics = served.get("/metrics").await.text;
    let counted = r#"atlasent_refusals_total{code="PERMIT_NOT_FOUND"} 12"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_test_key_and_a_live_key_know_nothing_of_each_others_permits() {
    let served = with_keys([stored(KEY), stored(LIVE)]).await;
    let live = ask(&served, LIVE, Method::POST, "/v1-evaluate", &deploy()).await;
    let (live, test) = (live.json(), served.evaluate(&deploy()).await.json());
    for (key, granted) in [(KEY, &live), (LIVE, &test)] {
        let id = granted["permit_id"].as_str().unwrap();
        let token = json!({"permit_token": granted["permit_token"], "actor_id": "deploy-bot"});
        let verified = ask(&served, key, Method::POST, "/v1-verify-permit", &token).await;
        assert_eq!(verified.json()["outcome"], "permit_not_found");
        let body = json!({"decision_id": granted["permit_token"]});
        let revoked = ask(&served, key, Method::POST, "/v1-revoke-permit", &body).await;
        assert_eq!(revoked.json()["revoked"], false);
        for (method, target) in [
            (Method::GET, format!("/v1/permits/{id}")),
            (Method::POST, format!("/v1/permits/{id}/verify")),
            (Method::POST, format!("/v1/permits/{id}/revoke")),
        ] {
            let answer = ask(&served, key, method, &target, &json!({})).await;
            answer.is_problem(404, "PERMIT_NOT_FOUND");
        }
        let page = ask(&served, key, Method::GET, "/v1/permits", &json!({})).await;
        let page = page.json();
        assert_eq!(page["total"], 1);
        assert_ne!(page["permits"][0]["id"], id);
    }
    // None of these requests used a permit up.
    for (key, granted) in [(LIVE, &live), (KEY, &test)] {
        let token = json!({"permit_token": granted["permit_token"]});
        let verified = ask(&served, key, Method::POST, "/v1-verify-permit", &token).await;
        assert_eq!(verified.json()["valid"], true);
    }
}

#[tokio::test]
async fn permits_are_told_of_to_keys_that_may_ask() {
    let mut key = stored(KEY);
    key.scopes = vec![ApiScope::Evaluate, ApiScope::Verify, ApiScope::AuditRead];
    let served = with_keys([key]).await;
    let granted = served.evaluate(&deploy()).await.json();
    let id = granted["permit_id"].as_str().unwrap();
    served
        .get("/v1/permits")
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
    served
        .get(&format!("/v1/permits/{id}"))
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
    for target in [
        format!("/v1/permits/{id}/verify"),
        format!("/v1/permits/{id}/revoke"),
        "/v1/permits/revoke".to_owned(),
    ] {
        let answer = served.post(&target, &json!({"all": true})).await;
        answer.is_problem(403, "INSUFFICIENT_SCOPE");
    }
    assert_eq!(served.count("permit.revoked").await, 0);
}

#[tokio::test]
async fn what_is_out_is_taken_back_by_agent_by_action_or_by_event() {
    for body in [
        json!({"agent_id": "deploy-bot"}),
        json!({"action_type": "deploy"}),
        json!({"all": true}),
        json!({"all": true, "issued_before": 3}),
    ] {
        let served = Served::start().await;
        let token = served.token().await;
        let body = with(body, &json!({"reason": "a leak"}));
        let answer = served.post("/v1/permits/revoke", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let later = served.token().await;
        let refused = served.verify(&json!({"permit_token": token})).await.json();
        assert_eq!(refused["outcome"], "permit_revoked");
        let good = served.verify(&json!({"permit_token": later})).await.json();
        assert_eq!(good["valid"], true);
    }
    let served = Served::start().await;
    for body in [
        json!({}),
        json!({"all": false}),
        json!({"all": true, "agent_id": "a"}),
        json!({"all": true, "issued_before": 1_u64 << 53}),
        json!({"all": true, "issued_before": u64::MAX}),
    ] {
        let answer = served.post("/v1/permits/revoke", &body).await;
        answer.is_problem(422, "INVALID_FIELD");
    }
    assert_eq!(served.count("permit.revoked").await, 0);
    let latest = json!({"all": true, "issued_before": (1_u64 << 53) - 1});
    assert_eq!(served.post("/v1/permits/revoke", &latest).await.status, 200);
}

#[tokio::test]
async fn every_event_of_a_request_names_key_address_and_request() {
    let served = Served::start().await;
    let granted = served.evaluate(&deploy()).await.json();
    let id = granted["permit_id"].as_str().unwrap();
    served.evaluate(&evaluate_body("drop")).await;
    let question = json!({"permit_token": granted["permit_token"]});
    served.verify(&question).await;
    served.verify(&question).await;
    served
        .post(&format!("/v1/permits/{id}/revoke"), &json!({}))
        .await;
    served
        .post("/v1/permits/revoke", &json!({"all": true}))
        .await;
    let stop = served
        .post("/v1/stops", &json!({"all": true, "reason": "why"}))
        .await;
    let stop = stop.json()["id"].as_str().unwrap().to_owned();
    let lift = served
        .bare(Method::DELETE, &format!("/v1/stops/{stop}"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .header("x-request-id", "0123456789abcdef")
        .body(json!({"reason": "over"}).to_string());
    assert_eq!(Answer::receive(lift).await.status, 200);
    let events = served.events().await;
    assert_eq!(events.len(), 1 + 8);
    for event in &events[1..] {
        let payload = &event["payload"];
        assert_eq!(payload["key_id"], stored(KEY).key_id, "{event}");
        assert_eq!(payload["key_environment"], "test", "{event}");
        assert_eq!(payload["client"], "127.0.0.1", "{event}");
        assert!(
            payload["x_request_id"].as_str().unwrap().len() >= 8,
            "{event}"
        );
        assert!(!event.to_string().contains(KEY));
    }
    assert_eq!(events[8]["payload"]["x_request_id"], "0123456789abcdef");
}

#[tokio::test]
async fn a_permit_is_not_good_for_an_environment_that_it_was_not_granted_for() {
    let served = Served::start().await;
    for (context, environment, valid) in [
        (json!({}), Some("production"), false),
        (json!({"environment": "staging"}), Some("production"), false),
        (
            json!({"environment": "production"}),
            Some("production"),
            true,
        ),
        (json!({}), None, true),
    ] {
        let body = with(deploy(), &json!({"context": context}));
        let granted = served.evaluate(&body).await.json();
        let mut question = json!({"permit_token": granted["permit_token"]});
        if let Some(environment) = environment {
            question["environment"] = environment.into();
        }
        let answer = served.verify(&question).await.json();
        assert_eq!(answer["valid"], valid, "{context} {environment:?}");
    }
}

#[tokio::test]
async fn texts_are_as_long_as_the_contract_lets_them_be() {
    let served = Served::start().await;
    for (name, most) in [
        ("resource_id", 512),
        ("environment", 256),
        ("request_id", 256),
    ] {
        let ask = async |length: usize| {
            let mut body =
                json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": {}});
            body[name] = "ü".repeat(length).into();
            served.evaluate(&body).await
        };
        assert_eq!(ask(most).await.status, 200, "{name}");
        let answer = ask(most + 1).await;
        answer.is_problem(422, "INVALID_FIELD");
        assert!(answer.text.contains(name), "{}", answer.text);
    }
    let question = json!({"permit_token": "x", "environment": "e".repeat(257)});
    served
        .verify(&question)
        .await
        .is_problem(422, "INVALID_FIELD");
}
