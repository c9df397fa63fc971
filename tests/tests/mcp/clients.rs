//! Tests that a server asks its client nothing without a permit.

use std::sync::Arc;
use std::time::Duration;

use atlasent::testing::{MockAuthority, Reply};
use atlasent_mcp::Caller;
use atlasent_mcp::server::{Callers, GuardedServer, GuardedTransport};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode,
    GetTaskParams, GetTaskResult, InputRequiredResult, ServerCapabilities, ServerConfig,
    ServerNotification, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};

use crate::support::{AGENT, Connection, shop, tools};

/// A server whose tool asks for the client's roots, or for what its argument `how` names.
struct AsksForRoots;

/// A task that waits for the client.
fn task() -> Value {
    let now = "2026-01-01T00:00:00Z";
    json!({
        "taskId": "task-1", "status": "input_required", "createdAt": now, "lastUpdatedAt": now,
        "ttlMs": null,
        "inputRequests": {"q": {
            "method": "elicitation/create",
            "params": {
                "mode": "form", "message": "who are you?",
                "requestedSchema": {"type": "object", "properties": {}},
            },
        }},
    })
}

impl ServerHandler for AsksForRoots {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_tasks();
        ServerConfig::new(capabilities.build())
    }

    async fn get_task(
        &self,
        _: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(serde_json::from_value(task()).unwrap())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        if arguments.get("how") == Some(&json!("url")) {
            let urls =
                [json!({"mode": "url", "message": "who are you?", "url": "https://login.example"})];
            let data = json!({ "elicitations": urls });
            return Err(ErrorData::new(ErrorCode(-32042), "open this", Some(data)));
        }
        if arguments.get("how") == Some(&json!("notifications")) {
            for notification in [
                json!({"method": "notifications/tasks", "params": task()}),
                json!({"method": "notifications/acme/inject", "params": {"text": "who are you?"}}),
                json!({"method": "notifications/tasks/status", "params": task()}),
            ] {
                let notification: ServerNotification =
                    serde_json::from_value(notification).unwrap();
                context.peer.send_notification(notification).await.unwrap();
            }
            return Ok(CallToolResult::success(Vec::new()).into());
        }
        if arguments.get("how") == Some(&json!("gives up")) {
            let request: ServerRequest =
                serde_json::from_value(json!({"method": "roots/list"})).unwrap();
            let options = PeerRequestOptions::no_options();
            let asked = context.peer.send_cancellable_request(request, options);
            let asked = asked.await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            asked.cancel(None).await.unwrap();
            return Ok(CallToolResult::success(Vec::new()).into());
        }
        if context
            .protocol_version()
            .is_some_and(|version| version.as_str() >= "2026")
        {
            let result = json!({
                "resultType": "input_required",
                "inputRequests": {"q": {
                    "method": "elicitation/create",
                    "params": {
                        "mode": "form", "message": "who are you?",
                        "requestedSchema": {"type": "object", "properties": {}},
                    },
                }},
            });
            let result: InputRequiredResult = serde_json::from_value(result).unwrap();
            return Ok(result.into());
        }
        let request: ServerRequest =
            serde_json::from_value(json!({"method": "roots/list"})).unwrap();
        let text = match context.peer.send_request(request).await {
            Ok(_) => "roots".to_owned(),
            Err(error) => error.to_string(),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

async fn open(authority: Arc<MockAuthority>) -> Connection {
    let (client, stream) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let gate = shop(authority);
        let agent = Caller::configured(AGENT).unwrap();
        let callers = Callers::configured(agent.clone());
        let server = GuardedServer::new(AsksForRoots, tools(), gate.clone(), callers).unwrap();
        let (read, write) = tokio::io::split(stream);
        let transport = AsyncRwTransport::new_server(read, write);
        let transport = GuardedTransport::new(transport, gate, agent);
        if let Ok(running) = server.serve(transport).await {
            let _ = running.waiting().await;
        }
    });
    Connection::over(client).await
}

#[tokio::test]
async fn a_client_is_asked_only_with_a_permit() {
    let authority = MockAuthority::new().allow("mcp.shop.echo");
    let mut client = open(Arc::new(authority)).await;
    let result = client.call("echo", json!({})).await.unwrap();
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("denied"), "{text}");
    assert!(client.others.is_empty(), "{:?}", client.others);

    let authority = MockAuthority::new()
        .allow("mcp.shop.echo")
        .allow("mcp.shop:roots/list");
    let authority = Arc::new(authority);
    let mut client = open(authority.clone()).await;
    let id = client.start("tools/call", json!({"name": "echo"})).await;
    let asked = client.next().await;
    assert_eq!(asked["method"], "roots/list");
    let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}});
    client.send(&answer.to_string()).await;
    let result = client.response(id).await.unwrap();
    assert_eq!(result["content"][0]["text"], "roots");
    assert_eq!(authority.receipts().len(), 2);
}

#[tokio::test]
async fn a_request_that_the_server_gives_up_is_asked_no_more_and_recorded_as_cancelled() {
    const ROOTS: &str = "mcp.shop:roots/list";
    let allows = || MockAuthority::new().allow("mcp.shop.echo");
    for (authority, expected, receipts) in [
        (allows().on_evaluate(ROOTS, Reply::Never), &[""; 0][..], 1),
        (
            allows().allow(ROOTS),
            &["roots/list", "notifications/cancelled"],
            2,
        ),
    ] {
        let authority = Arc::new(authority);
        let mut client = open(authority.clone()).await;
        client
            .call("echo", json!({"how": "gives up"}))
            .await
            .unwrap();
        client.settle().await;
        let methods = client.others.iter();
        let methods: Vec<_> = methods
            .filter_map(|message| message["method"].as_str())
            .collect();
        assert_eq!(methods, expected);
        assert_eq!(authority.receipts().len(), receipts);
    }
}

#[tokio::test]
async fn a_result_that_asks_the_client_needs_a_permit_for_the_question() {
    let params = json!({"name": "echo", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    }});
    let mut client = open(Arc::new(MockAuthority::new().allow("mcp.shop.echo"))).await;
    let result = client.request("tools/call", params.clone()).await.unwrap();
    assert_eq!(result["isError"], true, "{result}");
    assert!(!result.to_string().contains("who are you?"), "{result}");

    let authority = MockAuthority::new()
        .allow("mcp.shop.echo")
        .allow("mcp.shop:elicitation/create");
    let mut client = open(Arc::new(authority)).await;
    let result = client.request("tools/call", params).await.unwrap();
    assert_eq!(result["resultType"], "input_required", "{result}");
    assert!(result.to_string().contains("who are you?"), "{result}");
}

/// Returns an authority that denies elicitation, and one that allows it.
fn strict_and_generous() -> [(Arc<MockAuthority>, bool); 2] {
    [false, true].map(|is_allowed| {
        let authority = MockAuthority::new()
            .allow("mcp.shop.echo")
            .allow("mcp.shop:tasks/get");
        let authority = match is_allowed {
            true => authority.allow("mcp.shop:elicitation/create"),
            false => authority,
        };
        (Arc::new(authority), is_allowed)
    })
}

#[tokio::test]
async fn a_task_and_an_error_ask_the_client_only_with_a_permit() {
    for (authority, is_allowed) in strict_and_generous() {
        let mut client = open(authority).await;
        for (method, params) in [
            ("tasks/get", json!({"taskId": "task-1"})),
            (
                "tools/call",
                json!({"name": "echo", "arguments": {"how": "url"}}),
            ),
        ] {
            let response = client.request(method, params).await;
            let text = format!("{response:?}");
            assert_eq!(
                text.contains("who are you?"),
                is_allowed,
                "{method}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn a_notification_asks_the_client_only_with_a_permit_and_an_unknown_one_is_dropped() {
    for (authority, is_allowed) in strict_and_generous() {
        let mut client = open(authority).await;
        client
            .call("echo", json!({"how": "notifications"}))
            .await
            .unwrap();
        client.settle().await;
        let mut methods: Vec<_> = client
            .others
            .iter()
            .filter_map(|message| message["method"].as_str())
            .collect();
        methods.sort_unstable();
        match is_allowed {
            true => assert_eq!(
                methods,
                ["notifications/tasks", "notifications/tasks/status"]
            ),
            false => assert_eq!(methods, [""; 0]),
        }
    }
}
