//! Every endpoint of the router, tried by one organization with the things of another.

use std::fs;

use atlasent::audit::{BundleVerifier, SignedHead, TrustedKeys};
use atlasent::wire::PermitToken;
use atlasent_authority::store::PermitKey;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ORGS, PAIRS, SAME_REQUEST_ID, Side, same_request, serve};
use crate::organizations::support::Folder;
use crate::support::{AGENT, Answer, Served, deploy, evaluate_body, with};

const ROUTER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../atlasent-authority/src/server/routes/mod.rs"
);

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

const BATCH: &str = "7e0c2a34-6a8e-4f0e-9a58-0d4b1c1f6a55";
const NO_TOKEN: &str = "permit_0000000000000000";
const NO_PERMIT: &str = "pt_00000000000000000000000000000000";
const NO_DECISION: &str = "esc_00000000000000000000000000000000";
const NO_STOP: &str = "stop_00000000000000000000000000000000";

/// The endpoints that the router's source has, as `post /v1-evaluate`.
fn endpoints() -> Vec<String> {
    let source = fs::read_to_string(ROUTER).unwrap();
    for other in ["route_service(", "nest(", ".on(", " on(", "any("] {
        assert!(!source.contains(other), "this test does not read `{other}`");
    }
    let mut endpoints = Vec::new();
    for route in source.split(".route(").skip(1) {
        let (path, handlers) = route
            .trim_start()
            .strip_prefix('"')
            .unwrap()
            .split_once('"')
            .unwrap();
        let handlers = handlers.split(';').next().unwrap();
        let found = METHODS.iter().filter(|method| {
            let is_call =
                |at: usize| !handlers[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let call = format!("{method}(");
            let mut calls = handlers.match_indices(&call).map(|(at, _)| at);
            calls.any(is_call)
        });
        let found: Vec<_> = found.map(|method| format!("{method} {path}")).collect();
        assert!(!found.is_empty(), "{path} has no method");
        endpoints.extend(found);
    }
    endpoints
}

#[tokio::test]
async fn no_endpoint_shows_or_uses_anything_of_another_organization() {
    let endpoints = endpoints();
    assert!(endpoints.len() >= 22, "{endpoints:?}");
    // Endpoints that change nothing share a server.
    let (reading, changing): (Vec<_>, Vec<_>) = endpoints
        .iter()
        .partition(|endpoint| endpoint.starts_with("get "));
    let alone = changing.into_iter().map(|endpoint| vec![endpoint]);
    let groups: Vec<_> = alone.chain([reading]).collect();
    for pair in PAIRS {
        for group in &groups {
            let folder = Folder::new();
            let served = serve(&folder).await;
            let [own, other] = pair.map(|place| ORGS[place]);
            let own = Side::new(&served, own, 0).await;
            let other = Side::new(&served, other, 3).await;
            let before = other.state().await;
            let own_facts = own.facts().await;
            let facts = &other.facts().await - &own_facts;
            assert!(facts.len() > 15, "{facts:?}");
            own.heard.take();
            own.said.take();

            for endpoint in group {
                attempt(endpoint, &own, &other).await;
            }

            assert_eq!(
                other.state().await,
                before,
                "{group:?} changed {}",
                other.org
            );
            // An answer may repeat what it was sent, and the hash of a permit that it was sent.
            let said = own.said.take();
            let hash = said
                .contains(other.token())
                .then(|| &other.permit_id()[3..]);
            let is_said = |fact: &&String| {
                said.contains(&***fact) || hash.is_some_and(|hash| fact.starts_with(hash))
            };
            let untold: Vec<_> = facts.iter().filter(|fact| !is_said(fact)).collect();
            assert!(untold.len() > 12, "{untold:?}");
            for heard in own.heard.take() {
                for fact in &untold {
                    assert!(
                        !heard.contains(&**fact),
                        "{group:?} of {} tells `{fact}`: {heard}",
                        own.org
                    );
                }
            }
            let repeated = other.post("/v1-evaluate", &same_request()).await.json();
            assert_eq!(repeated["permit_token"], other.token(), "{group:?}");
            let verified = other.verify(other.token()).await;
            assert_eq!(verified["valid"], true, "{group:?}: {verified}");
        }
    }
}

/// Tries an endpoint as one organization with everything that another one has.
async fn attempt(endpoint: &str, own: &Side<'_>, other: &Side<'_>) {
    let path = endpoint.split_once(' ').unwrap().1;
    match endpoint {
        "post /v1-evaluate" | "post /v1-evaluate-stream" | "post /v1/evaluate/batch" => {
            evaluate(path, own, other).await;
        }
        "post /v1-verify-permit" => {
            for name in ["permit_token", "decision_id"] {
                let question = |id: &str| json!({name: id, "action": "deploy", "agent": AGENT});
                let unknown = own.post(path, &question(NO_TOKEN)).await;
                assert_eq!(unknown.json()["valid"], false);
                for id in ids(other) {
                    assert_same(&own.post(path, &question(&id)).await, &unknown);
                }
            }
            let body = json!({"permit_token": own.token(), "api_key": other.key});
            own.post(path, &body)
                .await
                .is_problem(401, "API_KEY_MISMATCH");
            assert_eq!(own.verify(own.token()).await["valid"], true);
        }
        "post /v1-revoke-permit" => {
            for name in ["permit_token", "decision_id"] {
                let revoke = |id: &str| json!({name: id, "reason": "r"});
                let unknown = own.post(path, &revoke(NO_TOKEN)).await;
                for id in ids(other) {
                    assert_same(&own.post(path, &revoke(&id)).await, &unknown);
                }
            }
            let body = json!({"permit_token": own.token(), "api_key": other.key});
            own.post(path, &body)
                .await
                .is_problem(401, "API_KEY_MISMATCH");
        }
        "get /v1-api-key-self" => {
            let this = own.get(path).await.json();
            assert_eq!(
                (&this["org_id"], &this["organization_id"]),
                (&json!(own.org), &json!(own.org))
            );
        }
        // One ring signs for all organizations; what it signs names the organization.
        "get /v1-signing-keys" => assert_same(&own.get(path).await, &other.get(path).await),
        "get /v1-audit/events" => list(path, "events", &events_queries(other), own).await,
        "get /v1/permits" => list(path, "permits", &permits_queries(other), own).await,
        "get /v1/permits/{id}"
        | "post /v1/permits/{id}/revoke"
        | "post /v1/permits/{id}/verify" => {
            let method = if endpoint.starts_with("get") {
                Method::GET
            } else {
                Method::POST
            };
            let body = json!({"reason": "r"});
            let by_id = async |id: &str| {
                own.send(method.clone(), &path.replace("{id}", id), Some(&body))
                    .await
            };
            let unknown = by_id(NO_PERMIT).await;
            unknown.is_problem(404, "PERMIT_NOT_FOUND");
            for id in ids(other) {
                assert_same(&by_id(&id).await, &unknown);
            }
            assert_eq!(by_id(own.permit_id()).await.status, 200);
        }
        "post /v1/permits/{id}/complete" => {
            let complete = async |id: &str, token: &str| {
                let body = json!({"permit_token": token, "outcome": "failed", "duration_ms": 1});
                own.post(&path.replace("{id}", id), &body).await
            };
            let hash = PermitKey::from_token(&PermitToken::new(NO_TOKEN).unwrap());
            let unknown = complete(&hash.id().to_string(), NO_TOKEN).await;
            unknown.is_problem(404, "PERMIT_NOT_FOUND");
            assert_same(&complete(other.permit_id(), other.token()).await, &unknown);
            let mixed = complete(NO_PERMIT, NO_TOKEN).await;
            mixed.is_problem(403, "PERMIT_TOKEN_MISMATCH");
            for id in ids(other) {
                assert_same(&complete(&id, own.token()).await, &mixed);
                assert_same(&complete(own.permit_id(), &id).await, &mixed);
            }
            assert_eq!(own.verify(own.token()).await["valid"], true);
            assert_eq!(complete(own.permit_id(), own.token()).await.status, 200);
        }
        "post /v1/permits/revoke" => {
            for scope in [
                json!({"all": true}),
                json!({"agent_id": AGENT}),
                json!({"action_type": "deploy"}),
            ] {
                for before in [json!(1), json!(3), json!(9_999), json!(null)] {
                    let body = with(
                        scope.clone(),
                        &json!({"issued_before": before, "reason": "r"}),
                    );
                    let answer = own.post(path, &body).await;
                    assert!(answer.status < 500, "{}", answer.text);
                }
            }
            assert_eq!(own.verify(own.token()).await["valid"], false);
        }
        "get /v1/stops" => {
            assert_eq!(own.get(path).await.json()["stops"], json!([own.stop]));
        }
        "post /v1/stops" => {
            let body = json!({"all": true, "reason": "r"});
            assert_eq!(own.post(path, &body).await.status, 200);
            assert_eq!(
                own.verify(own.token()).await["verify_error_code"],
                "STOPPED"
            );
            assert_eq!(
                own.post("/v1-evaluate", &deploy()).await.json()["decision"],
                "deny"
            );
        }
        "delete /v1/stops/{id}" => {
            let body = json!({"reason": "r"});
            let lift = async |id: &str| {
                own.send(Method::DELETE, &path.replace("{id}", id), Some(&body))
                    .await
            };
            let unknown = lift(NO_STOP).await;
            unknown.is_problem(404, "STOP_NOT_FOUND");
            for id in ids(other) {
                assert_same(&lift(&id).await, &unknown);
            }
            assert_eq!(lift(own.stop_id()).await.status, 200);
        }
        "get /v1/hitl" => list(path, "escalations", &decisions_queries(other), own).await,
        "post /v1/hitl" => {
            let body = json!({"agent_id": AGENT, "escalation_reason": "r", "org_id": other.org,
                "assigned_to_role": "the-same-role"});
            let opened = own.post(path, &body).await.json();
            assert_eq!(opened["org_id"], own.org);
        }
        "get /v1/hitl/{id}"
        | "get /v1/hitl/{id}/approvals"
        | "get /v1/hitl/{id}/chain"
        | "post /v1/hitl/{id}/approve"
        | "post /v1/hitl/{id}/reject"
        | "post /v1/hitl/{id}/escalate"
        | "post /v1/hitl/{id}/timeout" => decide(endpoint, own, other).await,
        "get /v1/audit/head" => head(path, own, other).await,
        "post /v1-audit/exports" => export(path, own, other).await,
        "post /v1/store/backup" => {
            let answer = own.post(path, &json!({})).await;
            answer.is_problem(501, "BACKUP_UNSUPPORTED");
        }
        // Nobody's API key is asked for, so these tell the ids of organizations at most.
        "get /healthz" | "get /readyz" | "get /metrics" => {
            let request = own.served.bare(Method::GET, path);
            let text = Answer::receive(request).await.text;
            let named = ["acme", "globex"].iter().filter(|org| text.contains(*org));
            assert!(path == "/metrics" || named.count() == 0, "{text}");
            own.heard.borrow_mut().push(text);
        }
        new => panic!("`{new}` has no case: try it with the things of another organization here"),
    }
}

/// The ids that the other organization has, in the places where an id may be sent.
fn ids(other: &Side<'_>) -> Vec<String> {
    let mut ids = vec![
        other.token(),
        other.permit_id(),
        other.stop_id(),
        other.held_id(),
    ];
    ids.extend(other.granted["decision_id"].as_str());
    ids.into_iter().map(str::to_owned).collect()
}

/// Tries to read or decide what waits for the approvers of the other organization.
async fn decide(endpoint: &str, own: &Side<'_>, other: &Side<'_>) {
    let (method, path) = endpoint.split_once(' ').unwrap();
    let method = match method {
        "get" => Method::GET,
        _ => Method::POST,
    };
    let body = json!({"note": "n"});
    let by_id = async |id: &str| {
        let target = path.replace("{id}", id);
        own.send(method.clone(), &target, Some(&body)).await
    };
    let unknown = by_id(NO_DECISION).await;
    unknown.is_problem(404, "ESCALATION_NOT_FOUND");
    for id in ids(other) {
        assert_same(&by_id(&id).await, &unknown);
    }
    let own = by_id(own.held_id()).await;
    match path.rsplit_once('/').unwrap().1 {
        // Its approver asked for it.
        "approve" | "reject" => own.is_problem(403, "SELF_APPROVAL"),
        _ => assert_eq!(own.status, 200, "{}", own.text),
    }
}

async fn evaluate(path: &str, own: &Side<'_>, other: &Side<'_>) {
    // The request that both made is answered to each with its own permit.
    let repeated = evaluate_by(own, path, &same_request()).await;
    assert_eq!(repeated["permit_token"], own.token());
    assert_ne!(own.token(), other.token());
    // A request id of the other one is free.
    let taken = format!("only-of-{}", other.org);
    let body = with(deploy(), &json!({"request_id": taken, "context": {}}));
    let answer = evaluate_by(own, path, &body).await;
    assert_eq!(answer["decision"], "allow", "{answer}");
    let conflict = with(same_request(), &json!({"resource_id": "another"}));
    assert_eq!(conflict["request_id"], SAME_REQUEST_ID);
    let answer = evaluate_by(own, path, &conflict).await;
    let code = answer["code"].as_str().or(answer["error_code"].as_str());
    assert_eq!(code, Some("REQUEST_ID_REUSED"), "{answer}");
    // The key of the other one does not speak for it.
    let body = with(deploy(), &json!({"api_key": other.key}));
    let answer = evaluate_by(own, path, &body).await;
    let code = answer["code"].as_str().or(answer["error_code"].as_str());
    assert_eq!(code, Some("API_KEY_MISMATCH"), "{answer}");
    if path == "/v1/evaluate/batch" {
        let body = json!({"items": [deploy()], "api_key": other.key});
        own.post(path, &body)
            .await
            .is_problem(401, "API_KEY_MISMATCH");
    }
    // A stop of the other one covers nothing here, and permits of one agent are counted apart.
    let body = with(evaluate_body("deploy"), &json!({"actor_id": AGENT}));
    assert_eq!(evaluate_by(own, path, &body).await["decision"], "allow");
}

/// Evaluates by one of the endpoints. Returns the decision or the problem.
async fn evaluate_by(side: &Side<'_>, path: &str, body: &Value) -> Value {
    match path {
        "/v1/evaluate/batch" => {
            let answer = side
                .post(path, &json!({"items": [body], "batch_id": BATCH}))
                .await;
            assert_eq!(answer.json()["batch_id"], BATCH, "{}", answer.text);
            answer.json()["items"][0].clone()
        }
        "/v1-evaluate-stream" => {
            let answer = side.post(path, body).await;
            let mut lines = answer.text.lines();
            match lines.find_map(|line| line.strip_prefix("data: ")) {
                Some(data) => serde_json::from_str(data).unwrap(),
                None => answer.json(),
            }
        }
        _ => side.post(path, body).await.json(),
    }
}

/// Reads a list with each query: it has things of the own organization only.
async fn list(path: &str, name: &str, queries: &[String], own: &Side<'_>) {
    let whole = own.get(&format!("{path}?limit=500")).await.json();
    let whole = whole[name].as_array().unwrap().clone();
    assert!(!whole.is_empty());
    for query in queries {
        let answer = own.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        let page = answer.json();
        for one in page[name].as_array().unwrap() {
            assert_eq!(one["org_id"], own.org, "{query}");
            assert!(whole.contains(one), "{query}");
        }
        assert!(
            page["total"].as_u64().unwrap() <= whole.len() as u64,
            "{query}"
        );
    }
}

fn events_queries(other: &Side<'_>) -> Vec<String> {
    let mut queries = vec![
        "limit=1".to_owned(),
        "types=evaluate.allow,stop.set,permit.verified".to_owned(),
        format!("actor_id={AGENT}"),
        format!("actor_id={AGENT}&types=evaluate.allow&from=2020-01-01&to=2200-01-01"),
        format!("org_id={}", other.org),
    ];
    queries.extend((0..12).map(|after| format!("limit=500&cursor=after_{after}")));
    queries
}

fn decisions_queries(other: &Side<'_>) -> Vec<String> {
    let mut queries: Vec<String> = [
        "status=pending",
        "agent_id=deploy-bot",
        "assigned_to_user_id=x",
    ]
    .map(str::to_owned)
    .into();
    for id in ids(other) {
        queries.push(format!("agent_id={id}"));
        queries.push(format!("assigned_to_user_id={id}"));
    }
    for sequence in [1, 3, 7, 9_999] {
        queries.push(format!("cursor=before_{sequence}"));
    }
    queries
}

fn permits_queries(other: &Side<'_>) -> Vec<String> {
    let mut queries = vec![
        "limit=1".to_owned(),
        "status=issued".to_owned(),
        format!("actor_id={AGENT}&action_type=deploy"),
        "from=2020-01-01&to=2200-01-01".to_owned(),
        format!("org_id={}", other.org),
    ];
    queries.extend((0..12).map(|before| format!("limit=500&cursor=before_{before}")));
    queries
}

async fn head(path: &str, own: &Side<'_>, other: &Side<'_>) {
    let text = own.get(path).await.text;
    let keys = keys(own.served).await;
    let verifies = |text: &str| {
        let head: SignedHead = serde_json::from_str(text).unwrap();
        head.verify(&keys).is_ok().then_some(head.org_id)
    };
    assert_eq!(verifies(&text).as_deref(), Some(own.org));
    let forged = text.replace(&format!("\"{}\"", own.org), &format!("\"{}\"", other.org));
    assert_ne!(forged, text);
    assert_eq!(verifies(&forged), None);
}

async fn export(path: &str, own: &Side<'_>, other: &Side<'_>) {
    let keys = keys(own.served).await;
    let count = own.get("/v1-audit/events").await.json()["total"].clone();
    for wanted in [
        json!({}),
        json!({"actor_id": AGENT}),
        json!({"org_id": other.org}),
        json!({"types": ["stop.set"]}),
    ] {
        let text = own.post(path, &wanted).await.text;
        let report = BundleVerifier::new(&keys).verify_bytes(&text).unwrap();
        assert!(report.signature_valid, "{report:?}");
        let bundle: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bundle["org_id"], own.org);
        let events = bundle["events"].as_array().unwrap();
        assert!(!events.is_empty() && events.iter().all(|event| event["org_id"] == own.org));
        if wanted == json!({}) || wanted.get("org_id").is_some() {
            assert_eq!(json!(events.len()), count);
        }
        let forged = text.replace(&format!("\"{}\"", own.org), &format!("\"{}\"", other.org));
        let report = BundleVerifier::new(&keys).verify_bytes(&forged).unwrap();
        assert!(!report.verified());
    }
}

/// The keys with which the server signs.
async fn keys(served: &Served) -> TrustedKeys {
    let client = served.client().build().unwrap();
    client.signing_keys().await.unwrap().trusted().unwrap()
}

/// Asserts that an answer tells no more than another one does. What follows from the id that was
/// sent is left out, and the caller's own event, which has a time and a hash.
#[track_caller]
fn assert_same(answer: &Answer, like: &Answer) {
    let [answer, like] = [answer, like].map(|answer| (answer.status, without_own(answer.json())));
    assert_eq!(answer, like);
}

fn without_own(json: Value) -> Value {
    const OWN: [&str; 3] = ["permit_hash", "decision_id", "audit_hash"];
    match json {
        Value::String(text) if text.parse::<Timestamp>().is_ok() => "a time".into(),
        Value::Array(all) => all.into_iter().map(without_own).collect(),
        Value::Object(all) => {
            let all = all.into_iter();
            let all = all.filter(|(name, _)| !OWN.contains(&&**name));
            all.map(|(name, value)| (name, without_own(value)))
                .collect()
        }
        other => other,
    }
}
