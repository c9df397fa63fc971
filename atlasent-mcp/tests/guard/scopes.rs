//! Tokens without the scope of a request, over HTTP.

use std::sync::Arc;

use ati_client::{Claims, SigningKey, issue};
use atlasent_mcp::guard::Guard;
use atlasent_mcp::guard::http::Authentication;
use atlasent_mcp::guard::pins::Pins;
use atlasent_mcp::{Gate, Mapping, Rule};
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::http::{AUDIENCE, SECRET, by_token};
use super::over_http::{Listening, Messages, Session, http};
use super::support::{Stage, allowing};

const METADATA: &str =
    r#"resource_metadata="https://guard.example/.well-known/oauth-protected-resource/mcp""#;

fn token(scope: &str) -> String {
    let claims = Claims::builder("ann")
        .audience(AUDIENCE)
        .scopes(scope.split(' '));
    issue(
        &claims.build().unwrap(),
        &SigningKey::from_hex(SECRET).unwrap(),
    )
    .unwrap()
}

/// A guard whose resources and prompts need scopes, too.
fn guard(stage: &Stage) -> Arc<Guard> {
    let mapping = Mapping::standard("fake")
        .unwrap()
        .method("resources/read", Rule::new().scope("docs:read"))
        .method("prompts/get", Rule::new().scope("docs:prompts"));
    let authority = allowing()
        .allow("mcp.fake:resources/read")
        .allow("mcp.fake:prompts/get");
    let gate = Gate::builder(Arc::new(authority), mapping).build();
    let pins = Pins::open(&stage.folder.path().join("pins"), "fake").unwrap();
    Arc::new(Guard::new(gate, pins))
}

/// Requests that need a scope, and the scope.
fn requests() -> [(Value, &'static str); 3] {
    let request = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let call = json!({"name": "write", "arguments": {"path": "/a"}});
    [
        (request("tools/call", call), "tool:fake:write"),
        (
            request("resources/read", json!({"uri": "file:///a"})),
            "docs:read",
        ),
        (
            request("prompts/get", json!({"name": "review"})),
            "docs:prompts",
        ),
    ]
}

async fn message(response: Response) -> Value {
    let messages = Messages::new(response).rest().await;
    messages.last().unwrap().1.clone()
}

#[tokio::test]
async fn a_token_without_the_scope_of_a_request_gets_403_that_names_it_and_nothing_runs() {
    let stage = Stage::new("");
    let guard = Listening::start(guard(&stage), stage.upstream(), by_token(Vec::new())).await;
    let mut session = Session::new(&guard);
    session.token = Some(token("tool:fake:read"));
    session.initialize().await;
    for (request, scope) in requests() {
        let response = session.post(&request).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{request}");
        let challenge = format!(
            r#"Bearer error="insufficient_scope", scope="{scope} tool:fake:read", {METADATA}"#
        );
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
        // The model of a client without another token reads the same as over stdio.
        let body = message(response).await;
        assert_eq!(body["id"], 7);
        let refusal = match body.get("result") {
            Some(result) => {
                assert_eq!(result["isError"], true);
                &result["structuredContent"]
            }
            None => &body["error"]["data"],
        };
        assert_eq!(refusal["code"], "SCOPE_MISSING", "{body}");
        assert_eq!(refusal["missing_scope"], scope);
    }
    assert_eq!(stage.runs(), 0);
    // With the scopes that a challenge names, the same requests run in the same session.
    for (runs, (request, scope)) in requests().into_iter().enumerate() {
        session.token = Some(token(&format!("{scope} tool:fake:read")));
        let response = session.post(&request).await;
        assert_eq!(response.status(), StatusCode::OK, "{request}");
        let body = message(response).await;
        assert!(body["result"].is_object(), "{body}");
        assert_eq!(stage.runs(), runs + 1);
    }
}

#[tokio::test]
async fn a_task_without_the_scope_of_its_call_gets_403_with_an_error_that_its_client_can_read() {
    let stage = Stage::new("");
    let guard = Listening::start(guard(&stage), stage.upstream(), by_token(Vec::new())).await;
    let mut session = Session::new(&guard);
    session.token = Some(token("tool:fake:read"));
    session.initialize().await;
    let [(mut request, scope), ..] = requests();
    request["params"]["task"] = json!({"ttl": 60_000});
    let response = session.post(&request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let body = message(response).await;
    assert_eq!(body["error"]["data"]["missing_scope"], scope, "{body}");
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_refusal_that_another_token_would_not_change_is_a_tool_error() {
    let stage = Stage::new("");
    // The policies allow `write` and `read` alone.
    let guard = Listening::start(guard(&stage), stage.upstream(), by_token(Vec::new())).await;
    let mut session = Session::new(&guard);
    session.token = Some(token("tool:fake:*"));
    session.initialize().await;
    for (name, arguments, code) in [
        ("write", json!({"file": "/a"}), "INVALID_ARGUMENTS"),
        ("other", json!({}), "NO_SUCH_TOOL"),
    ] {
        let params = json!({"name": name, "arguments": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let response = session.post(call).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        let body = message(response).await;
        assert_eq!(body["result"]["structuredContent"]["code"], code, "{body}");
    }
    // A method that nothing maps needs another server, and no other token.
    let unknown = json!({"jsonrpc": "2.0", "id": 2, "method": "acme/deploy", "params": {}});
    let response = session.post(unknown).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(message(response).await["error"]["code"], -32601);
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_denial_of_the_policies_is_a_tool_error_whatever_the_token_grants() {
    let stage = Stage::new("");
    let nothing = atlasent::testing::MockAuthority::new().deny("mcp.fake.write", "no");
    let guard =
        Listening::start(stage.guard(nothing), stage.upstream(), by_token(Vec::new())).await;
    let mut session = Session::new(&guard);
    session.token = Some(token("*"));
    session.initialize().await;
    // `call` expects the status 200.
    let refused = session.call(1).await;
    assert_eq!(refused["result"]["structuredContent"]["decision"], "deny");
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn the_challenge_names_no_scopes_of_a_token_that_has_too_many() {
    let stage = Stage::new("");
    let guard = Listening::start(guard(&stage), stage.upstream(), by_token(Vec::new())).await;
    let mut session = Session::new(&guard);
    let many: Vec<String> = (0..300).map(|n| format!("tool:other:{n}")).collect();
    session.token = Some(token(&many.join(" ")));
    let (request, scope) = requests()[0].clone();
    let response = session.post(request).await;
    let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scope}", {METADATA}"#);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
}

#[tokio::test]
async fn the_metadata_and_a_401_name_the_scopes_that_are_known() {
    let stage = Stage::new("");
    for (configured, supported, without_headers) in [
        (
            vec![],
            json!(["docs:prompts", "docs:read", "tool:fake:*"]),
            String::new(),
        ),
        (
            vec!["tool:fake:read", "docs:read"],
            json!(["tool:fake:read", "docs:read"]),
            r#"scope="tool:fake:read docs:read", "#.to_owned(),
        ),
    ] {
        let mut authentication = by_token(Vec::new());
        if let Authentication::Token { resource, .. } = &mut authentication {
            resource.scopes = configured.iter().map(|&scope| scope.to_owned()).collect();
        }
        let guard = Listening::start(guard(&stage), stage.upstream(), authentication).await;
        let address = guard.address;
        let url = format!("http://{address}/.well-known/oauth-protected-resource/mcp");
        let found = http().get(url).send().await.unwrap().text().await.unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["scopes_supported"], supported);

        let session = Session::new(&guard);
        let challenge = |headers: &[(&'static str, &str)]| {
            let mut request = session
                .request(Method::POST)
                .header(CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            async move {
                let response = request.body("{}").send().await.unwrap();
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
                challenge.to_owned()
            }
        };
        let expected = format!("Bearer {without_headers}{METADATA}");
        for headers in [
            &[][..],
            &[("mcp-method", "tools/list")],
            &[
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?w7w=?="),
            ],
            &[("mcp-method", "tools/call"), ("mcp-name", "a\"b")],
        ] {
            assert_eq!(challenge(headers).await, expected, "{headers:?}");
        }
        let call = challenge(&[("mcp-method", "tools/call"), ("mcp-name", "write")]).await;
        assert!(
            call.starts_with(r#"Bearer scope="tool:fake:write"#),
            "{call}"
        );
        let read = challenge(&[("mcp-method", "resources/read"), ("mcp-name", "file:///a")]).await;
        assert!(read.starts_with(r#"Bearer scope="docs:read"#), "{read}");
        guard.stop().await;
    }
}
