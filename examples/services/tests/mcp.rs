//! The built MCP server, called by rmcp's own client over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod support;

use std::collections::BTreeSet;
use std::io::BufRead;
use std::process::Command;

use ati_client::{Claims, SigningKey, issue};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use rmcp::model::CallToolRequestParams;
use rmcp::service::{ClientInitializeError, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};

use support::{Running, http};

const SECRET: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";
const OTHER_SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const ALL_TOOLS: [&str; 3] = ["tool:list_tables", "tool:run_query", "tool:drop_table"];

struct Server {
    running: Running,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp_server"));
        let command = command
            .arg("127.0.0.1:0")
            .env_remove("ATI_JWT_PRIVATE_KEY")
            .env_remove("ATI_JWT_PUBLIC_KEY")
            .env("ATI_JWT_SECRET", SECRET);
        let mut running = Running::start(command);
        let mut line = String::new();
        running.stdout.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").unwrap();
        Self {
            running,
            url: url.to_owned(),
        }
    }

    /// Returns the token that the server prints.
    fn printed_token(&mut self) -> String {
        let mut lines = (&mut self.running.stdout).lines().map(Result::unwrap);
        let token = lines.find_map(|line| line.strip_prefix("TOKEN=").map(str::to_owned));
        token.unwrap()
    }

    async fn connect(&self, token: &str) -> Result<Client, ClientInitializeError> {
        let config = StreamableHttpClientTransportConfig::with_uri(&*self.url).auth_header(token);
        let transport = StreamableHttpClientTransport::with_client(http(), config);
        ().serve(transport).await.map(Client)
    }

    /// Connects an agent whose token grants these scopes.
    async fn agent(&self, name: &str, scopes: &[&str]) -> Client {
        self.connect(&token(name, scopes, SECRET)).await.unwrap()
    }

    /// Returns the response to a single call without a handshake.
    async fn post(&self, authorization: Option<&str>) -> reqwest::Response {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "drop_table", "arguments": { "table": "tmp_import" } },
        });
        let mut request = http()
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(call.to_string());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.unwrap()
    }
}

fn token(agent: &str, scopes: &[&str], secret: &str) -> String {
    let claims = Claims::builder(agent).scopes(scopes.iter().copied());
    let key = SigningKey::from_hex(secret).unwrap();
    issue(&claims.build().unwrap(), &key).unwrap()
}

struct Client(RunningService<RoleClient, ()>);

impl Client {
    /// Returns the text that the model reads, as an `Err` for an error result.
    async fn call(&self, tool: &str, arguments: Value) -> Result<String, String> {
        let arguments = arguments.as_object().unwrap().clone();
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        // Models do not see protocol errors.
        let result = self.0.call_tool(call).await.unwrap();
        let [content] = &result.content[..] else {
            panic!("{result:?}");
        };
        let text = content.as_text().unwrap().text.clone();
        match result.is_error {
            Some(true) => Err(text),
            _ => Ok(text),
        }
    }

    async fn list(&self) -> String {
        self.call("list_tables", json!({})).await.unwrap()
    }
}

const EVERYTHING: &str = "orders\nsalaries\ntmp_import";

#[tokio::test]
async fn the_tools_are_described_without_a_word_of_permits() {
    let server = Server::start();
    let agent = server.agent("analyst-bot", &[]).await;
    let mut tools = agent.0.list_all_tools().await.unwrap();
    tools.sort_by(|a, b| a.name.cmp(&b.name));

    let described = tools.iter().map(|tool| {
        let parameters = tool.input_schema.get("properties");
        let parameters = parameters.and_then(Value::as_object).into_iter().flatten();
        let names: BTreeSet<&str> = parameters.map(|(name, _)| name.as_str()).collect();
        (&*tool.name, tool.description.as_deref().unwrap(), names)
    });
    assert_eq!(
        described.collect::<Vec<_>>(),
        [
            ("drop_table", "Drops a table.", ["table"].into()),
            ("list_tables", "Lists the tables.", [].into()),
            (
                "run_query",
                "Reads rows of a table.",
                ["limit", "table"].into()
            ),
        ]
    );
}

#[tokio::test]
async fn what_is_allowed_runs_with_the_values_that_were_decided_on() {
    let server = Server::start();
    let agent = server.agent("analyst-bot", &ALL_TOOLS).await;
    assert_eq!(agent.list().await, EVERYTHING);

    let query = json!({ "table": "orders", "limit": 1 });
    assert_eq!(agent.call("run_query", query).await.unwrap(), "1: a kettle");

    let dropped = agent.call("drop_table", json!({ "table": "tmp_import" }));
    assert_eq!(dropped.await.unwrap(), "`tmp_import` is gone");
    assert_eq!(agent.list().await, "orders\nsalaries");
}

#[tokio::test]
async fn the_printed_token_works_without_a_handshake() {
    let mut server = Server::start();
    let token = server.printed_token();
    let response = server.post(Some(&format!("Bearer {token}"))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(
        answer["result"]["content"][0]["text"],
        "`tmp_import` is gone"
    );
}

#[tokio::test]
async fn a_denial_reaches_the_model_with_its_reason() {
    let server = Server::start();
    let agent = server.agent("analyst-bot", &ALL_TOOLS).await;
    let denied = "deny: no agent touches salaries. Do not ask again.";

    let query = json!({ "table": "salaries", "limit": 1 });
    assert_eq!(agent.call("run_query", query).await.unwrap_err(), denied);

    // A denial is stronger than a hold.
    let dropped = agent.call("drop_table", json!({ "table": "salaries" }));
    assert_eq!(dropped.await.unwrap_err(), denied);
    assert_eq!(agent.list().await, EVERYTHING);
}

#[tokio::test]
async fn a_hold_says_when_to_ask_again() {
    let server = Server::start();
    let agent = server.agent("analyst-bot", &ALL_TOOLS).await;
    let dropped = agent.call("drop_table", json!({ "table": "orders" }));
    assert_eq!(
        dropped.await.unwrap_err(),
        "hold: a person has to agree before a table is dropped. Ask again in 300 s."
    );
    assert_eq!(agent.list().await, EVERYTHING);
}

#[tokio::test]
async fn what_is_allowed_to_one_agent_is_not_to_another() {
    let server = Server::start();
    let other = server.agent("intern-bot", &ALL_TOOLS).await;
    for (tool, arguments) in [
        ("run_query", json!({ "table": "orders", "limit": 1 })),
        ("drop_table", json!({ "table": "tmp_import" })),
        // The agent is the token's `sub`, not the caller's argument.
        (
            "drop_table",
            json!({ "table": "tmp_import", "agent": "analyst-bot" }),
        ),
    ] {
        let refused = other.call(tool, arguments).await.unwrap_err();
        assert!(refused.starts_with("deny: "), "{tool}: {refused}");
    }
    assert_eq!(other.list().await, EVERYTHING);
}

#[tokio::test]
async fn no_tool_runs_for_a_token_without_its_scope() {
    let server = Server::start();
    let agent = server.agent("analyst-bot", &ALL_TOOLS).await;
    let tools = agent.0.list_all_tools().await.unwrap();
    assert_eq!(tools.len(), ALL_TOOLS.len());

    // Any tool of the server.
    for tool in tools {
        let needed = format!("tool:{}", tool.name);
        let others = ALL_TOOLS.into_iter().filter(|scope| *scope != needed);
        let agent = server
            .agent("analyst-bot", &others.collect::<Vec<_>>())
            .await;
        let arguments = json!({ "table": "tmp_import", "limit": 1 });
        assert_eq!(
            agent.call(&tool.name, arguments).await.unwrap_err(),
            format!(
                "deny: the agent's token does not grant the scope `{needed}`. Do not ask again."
            )
        );
    }
    assert_eq!(agent.list().await, EVERYTHING);
}

#[tokio::test]
async fn requests_without_a_valid_token_are_refused() {
    let server = Server::start();
    let forged = token("analyst-bot", &ALL_TOOLS, OTHER_SECRET);
    let refused = server.connect(&forged).await.err().unwrap();
    assert!(refused.is_authorization_required(), "{refused:?}");

    for authorization in [
        None,
        Some("Bearer forged".into()),
        Some(format!("Bearer {forged}")),
    ] {
        let response = server.post(authorization.as_deref()).await;
        assert_eq!(
            response.status(),
            StatusCode::UNAUTHORIZED,
            "{authorization:?}"
        );
        // RFC 6750 §3.1: the challenge of a request without a token has no error.
        let challenge = match authorization {
            Some(_) => r#"Bearer error="invalid_token""#,
            None => "Bearer",
        };
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
    }
    let agent = server.agent("analyst-bot", &ALL_TOOLS).await;
    assert_eq!(agent.list().await, EVERYTHING);
}
