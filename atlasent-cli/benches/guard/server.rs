//! A server with 100 tools, which answers each call with a constant.

use std::io::{BufRead, Write};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::TOOLS;

/// Returns the definitions of the tools.
pub(super) fn tools() -> Value {
    let schema = json!({
        "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"],
    });
    let tool = |tool| json!({"name": format!("tool_{tool}"), "description": "Reads a file.", "inputSchema": schema});
    (0..TOOLS).map(tool).collect()
}

/// Answers a message. `None` for a notification.
fn answer(message: &[u8]) -> Option<Value> {
    let message: Value = serde_json::from_slice(message).unwrap();
    let id = message.get("id")?;
    let result = match message["method"].as_str().unwrap() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }),
        "tools/list" => json!({ "tools": tools() }),
        "tools/call" => json!({"content": [{"type": "text", "text": "done"}]}),
        _ => json!({}),
    };
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

/// Serves standard input and output.
pub(super) fn serve_stdio() {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        if let Some(answer) = answer(line.unwrap().as_bytes()) {
            writeln!(output, "{answer}").unwrap();
            output.flush().unwrap();
        }
    }
}

/// Serves streamable HTTP on a free port.
pub(super) fn serve_http() {
    let router = Router::new().route(
        "/mcp",
        post(on_post).delete(async || StatusCode::NO_CONTENT),
    );
    listen(router);
}

async fn on_post(body: Bytes) -> Response {
    match answer(&body) {
        Some(answer) => ([("mcp-session-id", "1")], axum::Json(answer)).into_response(),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// Serves a router on a free port, and prints its URL.
pub(super) fn listen(router: Router) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}/mcp", listener.local_addr().unwrap());
        axum::serve(
            axum::serve::ListenerExt::tap_io(listener, |stream| {
                let _ = stream.set_nodelay(true);
            }),
            router,
        )
        .await
        .unwrap();
    });
}
