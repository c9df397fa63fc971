//! Responses that do not wait for the body of their request: the connection stays usable, or the
//! response tells that the connection closes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::{KEY, Served};

/// A pause that is longer than the server needs to refuse these requests by their headers.
const PAUSE: Duration = Duration::from_millis(50);

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
