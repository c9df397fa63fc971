//! The service with a state and an error type of its own, as the built binary and the calls that it
//! prints.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod support;

use std::io::{BufRead, Read};
use std::process::Command;

use serde_json::{Value, json};

use support::{Running, http};

/// The service, and the tokens in the calls that it prints.
struct Service {
    _running: Running,
    url: String,
    tokens: Vec<String>,
}

impl Service {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app_state"));
        let mut running = Running::start(command.arg("127.0.0.1:0").env_remove("ATI_JWT_SECRET"));
        let mut url = String::new();
        let mut tokens = Vec::new();
        for line in running.stdout.by_ref().lines().map(Result::unwrap) {
            if let Some(rest) = line.strip_prefix("The orders are on ") {
                url = rest.split_once(". ").unwrap().0.to_owned();
            }
            if let Some((_, rest)) = line.split_once("Bearer ") {
                tokens.push(rest.split_once('\'').unwrap().0.to_owned());
            }
            if line.contains("refund_order") {
                break;
            }
        }
        Self {
            _running: running,
            url,
            tokens,
        }
    }

    async fn refund(&self, token: &str, order: &str, body: &str) -> reqwest::Response {
        let request = http()
            .post(format!("{}/orders/{order}/refunds", self.url))
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body.to_owned());
        request.send().await.unwrap()
    }

    async fn refunded(&self, order: u32) -> Value {
        let request = http()
            .get(format!("{}/orders/{order}", self.url))
            .bearer_auth(&self.tokens[0]);
        body(request.send().await.unwrap()).await["refunded"].clone()
    }
}

async fn body(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Asserts the status and the code of an error in the service's own form.
#[track_caller]
fn assert_error(status: u16, answer: &Value, expected: (u16, &str)) {
    let error = answer["error"].as_object().unwrap();
    assert_eq!((status, error["code"].as_str().unwrap()), expected);
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert_eq!(error.len(), 2);
}

#[tokio::test]
async fn the_printed_calls_do_what_they_say_and_what_is_refused_changes_nothing() {
    let service = Service::start();
    let [support, held, sales] = service.tokens.as_slice() else {
        panic!("not three tokens");
    };

    let response = service.refund(sales, "7", r#"{"amount": 20}"#).await;
    let status = response.status().as_u16();
    assert_error(status, &body(response).await, (403, "denied"));

    let response = service.refund(held, "8", r#"{"amount": 500}"#).await;
    assert_eq!(response.headers()["retry-after"], "600");
    assert_eq!(response.headers()["content-type"], "application/json");
    let status = response.status().as_u16();
    assert_error(status, &body(response).await, (403, "on_hold"));

    assert_eq!(service.refunded(7).await, json!(0));
    assert_eq!(service.refunded(8).await, json!(0));
    let response = service.refund(support, "7", r#"{"amount": 20}"#).await;
    assert_eq!(response.status(), 200);
    assert_eq!(service.refunded(7).await, json!(20));
}

#[tokio::test]
async fn every_error_has_the_form_of_the_service() {
    let service = Service::start();
    let support = &service.tokens[0];
    for (order, refund, expected) in [
        ("9", r#"{"amount": 1}"#, (404, "no_such_order")),
        ("7", r#"{"amount": 61}"#, (409, "too_much")),
        ("seven", r#"{"amount": 1}"#, (400, "bad_request")),
        ("7", "{", (400, "bad_request")),
        ("7", r#"{"amount": -1}"#, (422, "bad_request")),
    ] {
        let response = service.refund(support, order, refund).await;
        let status = response.status().as_u16();
        assert_error(status, &body(response).await, expected);
    }

    let response = http().get(format!("{}/orders/7", service.url)).send().await;
    let response = response.unwrap();
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    let status = response.status().as_u16();
    assert_error(status, &body(response).await, (401, "unauthenticated"));

    let response = http().get(format!("{}/nowhere", service.url)).send().await;
    let response = response.unwrap();
    let status = response.status().as_u16();
    assert_error(status, &body(response).await, (404, "no_such_route"));
}
