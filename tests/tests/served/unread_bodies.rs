//! Responses that do not wait for the body of their request: the connection stays usable, or the
//! response tells that the connection closes.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{KEY, Served, memory, server, settings};

/// A pause that is longer than the server needs to refuse these requests by their headers.
const PAUSE: Duration = Duration::from_millis(50);

/// Longer than the server takes to close a connection, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const MIB: usize = 1024 * 1024;

const UNKNOWN: &str = "/v1/hitl/esc_00000000000000000000000000000000/approve";

/// The headers of requests that are refused without their bodies, and the statuses.
fn refused() -> [(String, u16); 5] {
    let json = "content-type: application/json";
    let key = format!("authorization: Bearer {KEY}");
    [
        (format!("POST /no-such HTTP/1.1\r\n{json}"), 404),
        (format!("POST /v1-evaluate HTTP/1.1\r\n{json}"), 401),
        (format!("PUT /v1-evaluate HTTP/1.1\r\n{json}\r\n{key}"), 405),
        (format!("POST /v1-evaluate HTTP/1.1\r\n{key}"), 415),
        (format!("POST {UNKNOWN} HTTP/1.1\r\n{json}\r\n{key}"), 403),
    ]
}

/// Sends headers, and after a pause what follows them. Returns all responses.
async fn sent(served: &Served, head: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    sleep(PAUSE).await;
    // The server may have closed the connection, which its responses show.
    let _ = socket.write_all(body.as_bytes()).await;
    let mut responses = Vec::new();
    let _ = socket.read_to_end(&mut responses).await;
    String::from_utf8(responses).unwrap()
}

#[tokio::test]
async fn the_next_request_on_the_connection_is_answered() {
    let served = Served::start().await;
    let next = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for (head, status) in refused() {
        for (length, body) in [
            ("content-length: 7", r#"{"a":1}"#),
            (
                "transfer-encoding: chunked",
                "2\r\n{}\r\n3\r\n   \r\n0\r\n\r\n",
            ),
        ] {
            let head = format!("{head}\r\nhost: x\r\n{length}\r\n\r\n");
            let responses = sent(&served, &head, &format!("{body}{next}")).await;
            let first = format!("HTTP/1.1 {status} ");
            assert!(responses.starts_with(&first), "{head}{responses}");
            assert_eq!(
                responses.matches("HTTP/1.1 ").count(),
                2,
                "{head}{responses}"
            );
            assert!(responses.contains("HTTP/1.1 200 OK"), "{head}{responses}");
        }
    }
}

#[tokio::test]
async fn a_response_tells_that_the_connection_closes_if_the_rest_is_not_read() {
    let served = Served::start().await;
    for (head, status) in refused() {
        for length in [
            // Too long.
            "content-length: 99999999",
            // Never sent.
            "content-length: 7",
            "transfer-encoding: chunked",
            // Not sent before it is asked for.
            "content-length: 7\r\nexpect: 100-continue",
        ] {
            let head = format!("{head}\r\nhost: x\r\n{length}\r\n\r\n");
            let response = sent(&served, &head, "").await;
            let first = format!("HTTP/1.1 {status} ");
            assert!(response.starts_with(&first), "{head}{response}");
            assert!(
                response.contains("\r\nconnection: close\r\n"),
                "{head}{response}"
            );
        }
    }
}

/// Sends the headers of a request whose body is too large. `length` is the header of its length.
async fn too_large(served: &Served, length: &str) -> TcpStream {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    let head = format!(
        "POST /v1-evaluate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\n{length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

/// Reads the whole response to a body that is too large, and the end of the connection.
async fn assert_refused(mut socket: TcpStream) {
    let mut response = String::new();
    let reading = timeout(PATIENCE, socket.read_to_string(&mut response)).await;
    reading.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 413 "), "{response}");
    assert!(head.contains("\r\nconnection: close"), "{response}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["code"], "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_client_that_sends_8_mib_before_it_reads_gets_the_whole_refusal() {
    let served = Served::start().await;
    let whole = "x".repeat(8 * MIB);
    let chunk = format!("{MIB:x}\r\n{}\r\n", "x".repeat(MIB));
    for (length, body) in [
        (format!("content-length: {}", 8 * MIB), whole),
        (
            "transfer-encoding: chunked".to_owned(),
            format!("{}0\r\n\r\n", chunk.repeat(8)),
        ),
    ] {
        let mut socket = too_large(&served, &length).await;
        socket.write_all(body.as_bytes()).await.unwrap();
        assert_refused(socket).await;
    }
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_keep_its_connection() {
    let served = Served::start().await;
    let mut socket = too_large(&served, "transfer-encoding: chunked").await;
    let chunk = format!("{MIB:x}\r\n{}\r\n", "x".repeat(MIB));
    let sending = async {
        let mut chunks = 0;
        while socket.write_all(chunk.as_bytes()).await.is_ok() {
            chunks += 1;
        }
        chunks
    };
    let chunks = timeout(PATIENCE, sending).await;
    let chunks = chunks.expect("the connection is still open");
    // The buffers of both sockets hold some of them.
    assert!(chunks < 64, "{chunks} MiB");

    // This one stops after its first bytes.
    let length = format!("content-length: {}", 8 * MIB);
    let mut socket = too_large(&served, &length).await;
    socket.write_all(b"{").await.unwrap();
    assert_refused(socket).await;
}

#[tokio::test]
async fn the_rest_of_a_body_that_is_too_large_holds_no_slot() {
    let only_one = settings(|settings| settings.concurrency = 1);
    let served = Served::run(server(memory()).settings(only_one)).await;
    let length = format!("content-length: {}", 8 * MIB);
    let socket = too_large(&served, &length).await;
    sleep(PAUSE).await;
    // The server waits for the rest.
    assert_eq!(served.get("/v1-api-key-self").await.status, 200);
    assert_refused(socket).await;
}
