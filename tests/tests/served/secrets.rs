//! No API key and no token is in a log line, an error, the metrics or the chain.

use atlasent_tests::faulty::{CALLS, FAULTS, When};
use atlasent_tests::{Seen, capture, quiet_panics};
use reqwest::Method;
use serde_json::json;
use tokio::runtime::Builder;

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
