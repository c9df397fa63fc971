//! The built axum service, and the calls that it prints.
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

/// The service, and the three tokens that it prints.
struct Service {
    _running: Running,
    url: String,
    tokens: Vec<String>,
}

impl Service {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_axum_service"));
        let mut running = Running::start(command.arg("127.0.0.1:0").env_remove("ATI_JWT_SECRET"));
        let mut url = String::new();
        let mut tokens = Vec::new();
        for line in running.stdout.by_ref().lines().map(Result::unwrap) {
            if let Some(rest) = line.strip_prefix("The clinic answers on ") {
                url = format!("http://{}", rest.split_once(". ").unwrap().0);
            }
            if let Some((_, rest)) = line.split_once("Bearer ") {
                tokens.push(rest.split_once('\'').unwrap().0.to_owned());
            }
            if line.contains("read_patient_record") {
                break;
            }
        }
        Self {
            _running: running,
            url,
            tokens,
        }
    }

    async fn change(&self, token: &str, reason: &str) -> (reqwest::Response, u16) {
        let change =
            json!({"patient_id": "patient-7", "change_reason": reason, "note": "seen today"});
        let request = http()
            .post(format!("{}/changes", self.url))
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(change.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (response, status)
    }

    async fn notes(&self) -> Value {
        let request = http()
            .get(format!("{}/patients/patient-7", self.url))
            .bearer_auth(&self.tokens[0]);
        let record = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice::<Value>(&record).unwrap()["notes"].clone()
    }
}

async fn problem(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_printed_calls_do_what_they_say_and_what_is_refused_changes_nothing() {
    let service = Service::start();
    assert_eq!(service.notes().await, json!(["penicillin allergy"]));

    let (denied, status) = service.change(&service.tokens[1], "follow-up").await;
    assert_eq!(status, 403);
    assert_eq!(problem(denied).await["decision"], "deny");

    let (held, status) = service.change(&service.tokens[2], "discharge").await;
    assert_eq!(
        (status, held.headers()["retry-after"].to_str().unwrap()),
        (403, "900")
    );
    assert_eq!(problem(held).await["decision"], "hold");

    assert_eq!(service.notes().await, json!(["penicillin allergy"]));
    assert_eq!(service.change(&service.tokens[0], "follow-up").await.1, 200);
    assert_eq!(
        service.notes().await,
        json!(["penicillin allergy", "seen today"])
    );
}

#[tokio::test]
async fn requests_without_a_token_reach_only_the_health_check() {
    let service = Service::start();
    for (path, status) in [
        ("/patients/patient-7", 401),
        ("/nowhere", 404),
        ("/health", 200),
    ] {
        let response = http().get(format!("{}{path}", service.url)).send().await;
        assert_eq!(response.unwrap().status(), status, "{path}");
    }
}
