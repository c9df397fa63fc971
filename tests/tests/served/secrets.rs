//! No API key and no token is in a log line, an error, the metrics or the chain.

use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{CALLS, FAULTS, When};
use atlasent_tests::{Seen, capture, quiet_panics};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Builder;

use crate::hitl::{ALICE, HOLDS, get, keys};
use crate::store::faulty;
use crate::support::{
    Answer, KEY, Served, deploy, evaluate_body, impatient, keyed, ms, server, token_of, with,
};

const UNKNOWN: &str = "ask_live_this-is-nobodys-key";
const PATIENT: &str = "patient-4711";

/// Sends valid and invalid requests to every endpoint. Returns the tokens and all observed texts.
async fn talk() -> (Vec<String>, Vec<String>) {
    quiet_panics();
    let (authority, faults) = faulty().await;
    let served = Served::run(server(authority).settings(impatient(ms(100)))).await;
    let mut tokens = Vec::new();
    let mut texts = Vec::new();

    let sensitive = with(
        deploy(),
        &json!({"context": {"patient": PATIENT}, "api_key": KEY}),
    );
    for id in ["first-request", "second-request"] {
        tokens.push(token_of(
            &served
                .evaluate(&with(sensitive.clone(), &json!({"request_id": id})))
                .await,
        ));
    }
    let stream = served.post("/v1-evaluate-stream", &sensitive).await.text;
    let from = stream.find("permit_").unwrap();
    let from = from + stream[from..].find("\":\"").map_or(0, |at| at + 3);
    tokens.push(stream[from..].split('"').next().unwrap().to_owned());
    for token in &tokens {
        for question in [
            json!({"permit_token": token, "actor_id": "other"}),
            json!({"permit_token": token}),
        ] {
            texts.push(served.verify(&question).await.text);
        }
        served
            .post(
                "/v1-revoke-permit",
                &json!({"decision_id": token, "api_key": KEY}),
            )
            .await;
        texts.push(served.verify(&json!({"permit_token": [token]})).await.text);
        texts.push(
            served
                .verify(&json!({"permit_token": token, "action": "a", "action_type": "b"}))
                .await
                .text,
        );
        texts.push(
            served
                .post_text(
                    "/v1-verify-permit",
                    format!("{{\"permit_token\": \"{token}\""),
                )
                .await
                .text,
        );
        texts.push(
            served
                .get(&format!("/nowhere?token={token}&key={KEY}"))
                .await
                .text,
        );
    }
    for call in CALLS {
        for fault in FAULTS {
            for target in [
                "/v1-evaluate",
                "/v1-verify-permit",
                "/v1-audit/exports",
                "/v1-audit/events",
            ] {
                faults.plan(call, fault, When::Before, 0);
                let method = if target.ends_with("events") {
                    Method::GET
                } else {
                    Method::POST
                };
                let body = with(sensitive.clone(), &json!({"permit_token": tokens[0]}));
                let answer =
                    Answer::receive(keyed(served.bare(method, target)).body(body.to_string()))
                        .await;
                if answer.status != 200 {
                    texts.push(answer.text);
                }
            }
        }
    }
    faults.plan(CALLS[0], FAULTS[0], When::After, usize::MAX);
    for authorization in [
        format!("Bearer {UNKNOWN}"),
        UNKNOWN.to_owned(),
        format!("Basic {UNKNOWN}"),
        format!("Bearer {KEY} {UNKNOWN}"),
    ] {
        let request = served
            .bare(Method::POST, "/v1-evaluate")
            .header("authorization", authorization);
        texts.push(
            Answer::receive(request.body(sensitive.to_string()))
                .await
                .text,
        );
    }
    let other = with(evaluate_body("drop"), &json!({"api_key": UNKNOWN}));
    texts.push(served.evaluate(&other).await.text);
    texts.push(served.get("/v1-api-key-self").await.text);
    texts.push(served.get("/metrics").await.text);
    texts.push(json!(served.events().await).to_string());
    texts.push(served.post("/v1-audit/exports", &json!({})).await.text);
    (tokens, texts)
}

#[test]
fn no_secret_is_told() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let ((tokens, texts), seen) = capture(|| runtime.block_on(talk()));
    let told: Vec<_> = seen.iter().map(|seen| format!("{seen:?}")).collect();
    assert!(
        texts.len() > 40 && told.len() > 100,
        "{} {}",
        texts.len(),
        told.len()
    );
    assert_eq!(tokens.len(), 3);
    for secret in tokens
        .iter()
        .map(String::as_str)
        .chain([KEY, UNKNOWN, PATIENT])
    {
        assert!(secret.len() > 10, "{secret}");
        for text in told.iter().chain(&texts) {
            assert!(!text.contains(secret), "`{secret}` in {text}");
        }
    }
}

#[test]
fn each_request_is_in_the_access_log_with_its_id() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (_, seen) = capture(|| {
        runtime.block_on(async {
            let served = Served::start().await;
            for (id, body) in [
                ("good-request", deploy().to_string()),
                ("bad-request", "{".to_owned()),
            ] {
                let request =
                    keyed(served.bare(Method::POST, "/v1-evaluate")).header("x-request-id", id);
                Answer::receive(request.body(body)).await;
            }
        });
    });
    let mut lines = seen.iter().filter(|seen| seen.target == "atlasent::access");
    let line = |seen: Option<&Seen>| {
        ["request_id", "endpoint", "status", "org_id", "code"]
            .map(|name| seen.unwrap().field(name).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        line(lines.next()),
        [
            some("good-request"),
            some("/v1-evaluate"),
            some("200"),
            some("local"),
            None
        ]
    );
    assert_eq!(
        line(lines.next()),
        [
            some("bad-request"),
            some("/v1-evaluate"),
            some("400"),
            some("local"),
            some("INVALID_JSON")
        ]
    );
    assert!(lines.next().is_none());
}

/// The names of an evaluate request.
const EVALUATED: &[&str] = &[
    "action_type",
    "action",
    "actor_id",
    "agent",
    "actors",
    "resource_id",
    "environment",
    "request_id",
    "context.environment",
];

/// Sends the API key in each name of each endpoint that records names. Returns the texts of the
/// server.
async fn misuse(served: &Served) -> Vec<String> {
    let name = format!("my {KEY}");
    let escaped = format!("\\u0061{}", &KEY[1..]);
    let asked = ["/v1-evaluate", "/v1-evaluate-stream"].map(|target| (target, deploy(), EVALUATED));
    let others: [(&str, Value, &[&str]); 4] = [
        (
            "/v1-verify-permit",
            json!({"permit_token": served.token().await}),
            &["action_type", "actor_id", "environment", "execution_hash"],
        ),
        (
            "/v1/stops",
            json!({"reason": "why"}),
            &["agent_id", "action_type"],
        ),
        (
            "/v1/permits/revoke",
            json!({"reason": "why"}),
            &["agent_id", "action_type"],
        ),
        (
            "/v1/hitl",
            json!({"agent_id": "bot", "escalation_reason": "why"}),
            &[
                "agent_id",
                "assigned_to_role",
                "assigned_to_user_id",
                "proposed_action.action_type",
                "proposed_action.environment",
                "proposed_action.resource_id",
            ],
        ),
    ];
    let mut texts = Vec::new();
    for (target, body, fields) in asked.into_iter().chain(others) {
        for field in fields {
            let value = match field.split_once('.') {
                Some((parent, inner)) => json!({parent: {inner: name}}),
                None if *field == "actors" => json!({*field: ["helper", name]}),
                None => json!({*field: name}),
            };
            let body = with(body.clone(), &value).to_string();
            for body in [body.replace(KEY, &escaped), body] {
                let answer = served.post_text(target, body).await;
                answer.is_problem(422, "INVALID_FIELD");
                let message = answer.json()["message"].as_str().unwrap().to_owned();
                let start = format!("`{field}` contains the API key");
                assert!(message.starts_with(&start), "{target}: {message}");
                texts.push(answer.text);
            }
        }
    }
    let items = json!([with(deploy(), &json!({"actor_id": name})), deploy()]);
    let batch = json!({"items": items});
    let batch = served.post("/v1/evaluate/batch", &batch).await.json();
    let items = &batch["items"];
    assert_eq!(items[0]["error_code"], "INVALID_FIELD", "{batch}");
    assert_eq!(items[1]["decision"], "allow", "{batch}");
    texts.push(items[0].to_string());
    for id in [KEY, "ask_live_nobodys", &format!("id-{KEY}")] {
        for (target, body) in [
            ("/v1-evaluate", deploy().to_string()),
            ("/nowhere", "{".to_owned()),
        ] {
            let request = keyed(served.bare(Method::POST, target)).header("x-request-id", id);
            let answer = Answer::receive(request.body(body)).await;
            let used = answer.header("x-request-id").unwrap();
            assert!(!used.contains("ask_"), "{used}");
            texts.push(used.to_owned());
        }
    }
    texts.push(json!(served.events().await).to_string());
    texts.push(served.get("/v1/hitl").await.text);
    texts.push(served.get("/v1/stops").await.text);
    texts.push(
        Answer::receive(served.bare(Method::GET, "/metrics"))
            .await
            .text,
    );
    texts
}

#[test]
fn a_name_with_the_api_key_is_refused_and_recorded_nowhere() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (texts, seen) = capture(|| {
        runtime.block_on(async {
            let served = Served::start().await;
            let texts = misuse(&served).await;
            // The token, an item of the batch, and three requests whose id was replaced.
            assert_eq!(served.count("evaluate.allow").await, 5);
            assert_eq!(served.events().await.len(), 1 + 5);
            texts
        })
    });
    let told = seen.iter().map(|seen| format!("{seen:?}"));
    for text in texts.into_iter().chain(told) {
        assert!(!text.contains(KEY), "{text}");
    }
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_context_with_the_api_key_is_decided_on_and_shown_without_it() {
    let policies = format!(
        "{HOLDS} @id(\"real\") forbid (principal, action == Action::\"read\", resource)
         unless {{ context.token == \"{KEY}\" }};"
    );
    let authority = LocalAuthority::builder(Policies::parse(&policies).unwrap())
        .record_context(true)
        .build();
    let ring = KeyRing::in_memory().unwrap();
    let served = Served::run(Server::new(
        authority.await.unwrap(),
        ApiKeys::new(keys()),
        ring,
    ));
    let served = served.await;

    let context = json!({"list": [{KEY: format!("a {KEY}")}], "token": KEY});
    let asked =
        |action: &str| json!({"action_type": action, "actor_id": "bot", "context": context});
    let allowed = served.evaluate(&asked("read")).await.json();
    assert_eq!(
        allowed["decision"], "allow",
        "the policy sees the real value"
    );
    let hash =
        sha256(&json!({"action_type": "read", "actor_id": "bot", "context": context}).to_string());
    let verify = json!({"permit_token": allowed["permit_token"], "execution_hash": hash});
    assert_eq!(served.verify(&verify).await.json()["valid"], true);
    let held = served.evaluate(&asked("deploy")).await.json();
    let id = held["escalation_id"].as_str().unwrap();
    let by_hand = json!({"agent_id": "bot", "escalation_reason": "why",
        "proposed_action": {"action_type": "wipe", "token": KEY}});
    let opened = served.post("/v1/hitl", &by_hand).await.json();
    let opened = opened["id"].as_str().unwrap();

    let events = served.events().await;
    let recorded = &events[1]["payload"];
    let shown = json!({"list": [{"…": "a …"}], "token": "…"});
    let text: Value = serde_json::from_str(recorded["context"].as_str().unwrap()).unwrap();
    assert_eq!(text, shown);
    assert_eq!(recorded["context_hash"], sha256(&context.to_string()));
    assert!(!json!(events).to_string().contains(KEY), "{events:?}");
    for (id, proposed) in [
        (
            id,
            json!({"action_type": "deploy", "actor_id": "bot", "context": shown}),
        ),
        (opened, json!({"action_type": "wipe", "token": "…"})),
    ] {
        let row = get(&served, ALICE, &format!("/v1/hitl/{id}")).await;
        assert!(!row.text.contains(KEY), "{}", row.text);
        let row = row.json();
        assert_eq!(row["proposed_action"], proposed);
        assert_eq!(row["shown_hash"], sha256(row["shown"].as_str().unwrap()));
    }
}
