//! A proxy that forwards each message and reads none: the floor of everything that stands between a
//! client and a server.

use std::process::Stdio;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::any;
use tokio::io::{copy, stdin, stdout};

use super::{client, server, this};

/// Starts the server, and copies both streams.
pub(super) fn forward_stdio() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut command = tokio::process::Command::from(this(&["--server"]));
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        tokio::spawn(async move { copy(&mut stdin(), &mut input).await });
        copy(&mut output, &mut stdout()).await.unwrap();
    });
}

/// Forwards requests to a URL, from a free port.
pub(super) fn forward_http(upstream: &str) {
    let state = (client::http(), upstream.to_owned());
    server::listen(Router::new().route("/mcp", any(forward)).with_state(state));
}

async fn forward(
    State((client, upstream)): State<(reqwest::Client, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = client.request(method, upstream).body(body);
    for name in ["accept", "content-type", "mcp-session-id"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let response = request.send().await.unwrap();
    let mut headers = HeaderMap::new();
    for name in ["content-type", "mcp-session-id"] {
        if let Some(value) = response.headers().get(name) {
            headers.insert(name, value.clone());
        }
    }
    (response.status(), headers, response.bytes().await.unwrap())
}
