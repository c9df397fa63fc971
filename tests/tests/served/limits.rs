//! Slow clients and floods: the server stays available to other clients.

use std::time::Duration;

use atlasent_authority::server::{ApiKeys, Server, Settings};
use atlasent_authority::signing::KeyRing;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Answer, KEY, Served, deploy, memory, ms, server, settings, stored};

/// The longest time that a loaded machine may take.
const PATIENCE: Duration = ms(20_000);

async fn start(set: impl FnOnce(&mut Settings)) -> Served {
    Served::run(server(memory()).settings(settings(set))).await
}

/// Returns the head of a request to deploy.
fn head(key: &str) -> String {
    let length = deploy().to_string().len();
    format!(
        "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Sends the head of a request. The server has accepted it and waits for the body.
async fn waiting(served: &Served) -> TcpStream {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.write_all(head(KEY).as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    timeout(PATIENCE, socket.read_exact(&mut go_on))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket
}

/// Reads everything until the server closes the connection.
async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset also closes the connection.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut text))
        .await
        .unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_no_permit() {
    let served = start(|settings| settings.request_timeout = ms(100)).await;
    for half in ["", "{\"action_type\":\"deploy\""] {
        let mut socket = waiting(&served).await;
        socket.write_all(half.as_bytes()).await.unwrap();
        let answer = rest(socket).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.contains("\"TIMEOUT\"") && answer.contains("x-ratelimit-remaining: "),
            "{answer}"
        );
        assert!(answer.contains("retry-after: "), "{answer}");
    }
    // A client that breaks off gets no answer either.
    drop(waiting(&served).await);
    assert_eq!(served.events().await.len(), 1);
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_told_to_retry() {
    let served = start(|settings| settings.concurrency = 2).await;
    let mut first = waiting(&served).await;
    let second = waiting(&served).await;
    let refused = served.evaluate(&deploy()).await;
    refused.is_problem(503, "OVERLOADED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // `/healthz` and `/metrics` still answer.
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            Answer::receive(served.bare(Method::GET, open)).await.status,
            200
        );
    }
    first
        .write_all(deploy().to_string().as_bytes())
        .await
        .unwrap();
    let answer = rest(first).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("permit_token"),
        "{answer}"
    );
    assert_eq!(served.evaluate(&deploy()).await.status, 200);
    drop(second);
}

#[tokio::test]
async fn a_slow_body_is_given_up_before_the_request_is() {
    let served = start(|settings| settings.body_timeout = ms(150)).await;
    for half in ["", "{\"action_type\":\"deploy\""] {
        let mut socket = waiting(&served).await;
        socket.write_all(half.as_bytes()).await.unwrap();
        let answer = rest(socket).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"BODY_TOO_SLOW\""), "{answer}");
    }
    // A body that trickles in is slow, too.
    let mut socket = waiting(&served).await;
    for byte in deploy().to_string().bytes() {
        if socket.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(ms(10)).await;
    }
    let answer = rest(socket).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
    assert_eq!(served.events().await.len(), 1);
}

#[tokio::test]
async fn a_key_that_floods_with_slow_bodies_keeps_no_other_key_out() {
    const OTHER: &str = "ask_test_another";
    let keys = ApiKeys::new([stored(KEY), stored(OTHER)]);
    let server = Server::new(memory(), keys, KeyRing::in_memory().unwrap());
    let served = Served::run(server.settings(settings(|settings| settings.concurrency = 64))).await;
    let mut sockets = Vec::new();
    let refused = loop {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(head(KEY).as_bytes()).await.unwrap();
        let mut first = [0; 12];
        let read = timeout(PATIENCE, socket.read_exact(&mut first)).await;
        read.unwrap().unwrap();
        if &first != b"HTTP/1.1 100" {
            break String::from_utf8(first.to_vec()).unwrap();
        }
        sockets.push(socket);
        assert!(sockets.len() <= 64);
    };
    assert_eq!(refused, "HTTP/1.1 503");
    assert!((40..=50).contains(&sockets.len()), "{}", sockets.len());
    for _ in 0..100 {
        let request = served.bare(Method::POST, "/v1-evaluate");
        let request = request
            .header("authorization", format!("Bearer {OTHER}"))
            .header("content-type", "application/json");
        let answer = Answer::receive(request.body(deploy().to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    served
        .evaluate(&deploy())
        .await
        .is_problem(503, "OVERLOADED");
    // The slots that the flood held are free again.
    drop(sockets);
    let again = async { while served.evaluate(&deploy()).await.status != 200 {} };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_slow_heads_keeps_nobody_out() {
    let served = start(|settings| settings.connections = 40).await;
    // An open request survives the flood.
    let mut under_way = waiting(&served).await;
    let mut silent = Vec::new();
    for n in 0..200 {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        let begun = "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\nx-slow: ";
        // A connection that was closed meanwhile cannot be written to.
        let _ = socket.write_all(begun.as_bytes()).await;
        silent.push(socket);
        if n % 10 == 0 {
            let answer = timeout(ms(5_000), served.evaluate(&deploy())).await;
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    // The first connections make room long before the time limit for a head.
    let mut oldest = silent.swap_remove(0);
    let closed = timeout(ms(5_000), oldest.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    let body = deploy().to_string();
    under_way.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(under_way).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let served = start(|settings| settings.header_timeout = ms(200)).await;
    for begun in [
        "",
        "P",
        "PRI * HTTP/2.0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ",
    ] {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut answer))
            .await
            .unwrap_or_else(|_| panic!("{begun:?} is still open"));
        assert!(!answer.starts_with(b"HTTP/1.1 2"));
    }
    assert_eq!(served.evaluate(&deploy()).await.status, 200);
}

#[tokio::test]
async fn a_head_has_its_limits() {
    let served = Served::start().await;
    for head in [
        format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "x-a: b\r\n".repeat(200)
        ),
        format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n",
            "b".repeat(1024 * 1024)
        ),
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx a: b\r\n\r\n".to_owned(),
        "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
            .to_owned(),
        "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n".to_owned(),
    ] {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        // The server may close the connection before the whole request is sent.
        let _ = socket.write_all(head.as_bytes()).await;
        let answer = rest(socket).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(served.evaluate(&deploy()).await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_under_way_when_the_server_stops_is_answered() {
    let served = Served::start().await;
    let address = served.address;
    let mut socket = waiting(&served).await;
    let stopped = served.stop();
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    socket
        .write_all(deploy().to_string().as_bytes())
        .await
        .unwrap();
    let answer = rest(socket).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("permit_token"),
        "{answer}"
    );
    timeout(PATIENCE, stopped).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_server_from_stopping() {
    let served = start(|settings| settings.shutdown_timeout = ms(100)).await;
    let socket = waiting(&served).await;
    timeout(PATIENCE, served.stop())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(rest(socket).await, "");
}

#[tokio::test]
async fn a_server_that_is_idle_stops_at_once() {
    let served = Served::start().await;
    assert_eq!(served.verify(&json!({})).await.status, 200);
    timeout(ms(5_000), served.stop())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
