//! Limits on time, number and size; ids; and what is at no endpoint.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use atlasent_authority::LocalAuthority;
use atlasent_authority::server::KeyBook;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::faults::{Fault, Faulty};
use crate::stage::{Set, Stage, new_key, policies};

/// A server on a store that never answers evaluations, with these limits.
async fn hanging(concurrency: usize, timeout: Duration) -> Stage {
    let store = Faulty::new(Fault::Hangs, 2);
    let authority = LocalAuthority::builder(policies())
        .store(store)
        .build()
        .await
        .unwrap();
    let (key, secret) = new_key();
    let mut set = Set::new(authority);
    set.keys = KeyBook::of([key]);
    set.settings.concurrency = concurrency;
    set.settings.request_timeout = timeout;
    set.serve(&secret).await
}

fn body() -> serde_json::Value {
    json!({ "action_type": "deploy", "actor_id": "bot", "context": {} })
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let stage = hanging(10, Duration::from_millis(200)).await;
    let said = stage.evaluate(body()).await;
    assert_eq!(said.code(), (503, "TIMEOUT"));
    assert_eq!(said.header("retry-after"), "1");
    // The store hangs once; the next one is answered.
    assert_eq!(stage.evaluate(body()).await.body["decision"], "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_answered_at_a_time_are_told_so_at_once() {
    let stage = hanging(1, Duration::from_secs(3)).await;
    let (hanging, refused) = tokio::join!(stage.evaluate(body()), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stage.evaluate(body()).await
    });
    assert_eq!(hanging.code(), (503, "TIMEOUT"));
    assert_eq!(refused.code(), (503, "OVERLOADED"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(stage.evaluate(body()).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_no_longer_than_the_limit() {
    let (key, secret) = new_key();
    let mut set = Set::new(LocalAuthority::in_memory(policies()).unwrap());
    set.keys = KeyBook::of([key]);
    set.settings.request_timeout = Duration::from_millis(200);
    let stage = set.serve(&secret).await;
    let mut socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST /v1-evaluate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        stage.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut reader = tokio::io::BufReader::new(socket);
    tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut answer)
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(stage.events("evaluate.allow").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (key, secret) = new_key();
    let mut set = Set::new(LocalAuthority::in_memory(policies()).unwrap());
    set.keys = KeyBook::of([key]);
    set.settings.header_timeout = Duration::from_millis(200);
    let stage = set.serve(&secret).await;
    let mut socket = TcpStream::connect(stage.address).unwrap();
    socket
        .write_all(b"POST /v1-evaluate HTTP/1.1\r\nHost: x\r\n")
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut rest = Vec::new();
    // It is closed, with a word or without.
    let closed = tokio::task::spawn_blocking(move || socket.read_to_end(&mut rest).map(|_| rest))
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&closed.unwrap_or_default()).contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_answered_before_the_server_ends() {
    let stage = hanging(10, Duration::from_millis(500)).await;
    let request = stage
        .request("POST", "/v1-evaluate")
        .bearer_auth(&stage.key);
    let request = request
        .header("content-type", "application/json")
        .body(body().to_string());
    let asking = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let address = stage.address;
    stage.stop().await;
    assert_eq!(asking.await.unwrap().unwrap().status(), 503);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn an_id_comes_back_unless_it_could_be_something_else() {
    let stage = Stage::usual().await;
    let ask = async |id: &str| {
        let request = stage
            .request("POST", "/v1-evaluate")
            .bearer_auth(&stage.key)
            .header("x-request-id", id);
        stage
            .send(
                request
                    .header("content-type", "application/json")
                    .body(body().to_string()),
            )
            .await
    };
    for id in [
        "0123456789ab",
        "6ac5986d-19f5-41fe-bba4-01b80fd59f69",
        "A.b_c-12",
    ] {
        let said = ask(id).await;
        assert_eq!(
            (said.header("x-request-id"), &said.body["request_id"]),
            (id, &json!(id))
        );
    }
    for id in [
        "short",
        &"x".repeat(129),
        "with space",
        "<script>",
        "a;b;c;d;e",
    ] {
        let said = ask(id).await;
        let own = said.header("x-request-id");
        assert!(own != id && own.len() == 36 && said.body["request_id"] == own);
    }
}

#[tokio::test]
async fn what_is_nowhere_is_said_in_the_same_form() {
    let stage = Stage::usual().await;
    for (method, path, code) in [
        ("GET", "/", (404, "NOT_FOUND")),
        ("POST", "/v2-evaluate", (404, "NOT_FOUND")),
        ("GET", "/v1-evaluate", (405, "METHOD_NOT_ALLOWED")),
        ("POST", "/v1-audit/events", (405, "METHOD_NOT_ALLOWED")),
    ] {
        let said = stage
            .send(stage.request(method, path).bearer_auth(&stage.key))
            .await;
        assert_eq!(said.code(), code, "{method} {path}");
        assert_eq!(said.body["request_id"], said.header("x-request-id"));
    }
}

#[tokio::test]
async fn a_server_says_whether_it_is_well() {
    let stage = Stage::usual().await;
    stage.evaluate(body()).await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let said = stage.send(stage.request("GET", path)).await;
        assert_eq!((said.status, &*said.text), (200, text));
    }
    let metrics = stage.send(stage.request("GET", "/metrics")).await.text;
    assert!(
        metrics.contains(r#"atlasent_decisions_total{action="deploy",decision="allow"} 1"#),
        "{metrics}"
    );
    assert!(metrics.contains("atlasent_chain_sequence 2"), "{metrics}");
}
