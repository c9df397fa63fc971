//! Tests that a server asks its client nothing without a permit.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_mcp::Caller;
use atlasent_mcp::server::{Callers, GuardedServer, GuardedTransport};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InputRequiredResult,
    ServerCapabilities, ServerConfig, ServerRequest,
};
use rmcp::service::RequestContext;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;

use crate::support::{AGENT, Connection, shop, tools};

/// A server whose tool asks for the client's roots.
struct AsksForRoots;

impl ServerHandler for AsksForRoots {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
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
