//! Streamable HTTP on both sides of the guard.

use std::sync::Arc;

use ati_client::{Claims, SigningKey, Verifier, issue};
use atlasent::testing::MockAuthority;
use atlasent_mcp::credential::HostCredential;
use atlasent_mcp::guard::Upstream;
use atlasent_mcp::guard::http::{Authentication, HttpUpstream, ProtectedResource, UpstreamError};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use super::over_http::{Listening, Session, http};
use super::support::{Client, Stage, allowing};

pub(crate) const SECRET: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";
pub(crate) const AUDIENCE: &str = "https://guard.example/mcp";

#[tokio::test]
async fn a_session_over_http_reaches_a_server_on_stdio() {
    let stage = Stage::new("");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    assert_eq!(
        session.call(1).await["result"]["content"][0]["text"],
        "done"
    );
    assert_eq!(stage.runs(), 1);
    let ended = session.delete().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    let late = session
        .post(json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}))
        .await;
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn ambiguous_http_requests_are_refused() {
    let stage = Stage::new("");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#;
    let post = || {
        session
            .request(reqwest::Method::POST)
            .header(CONTENT_TYPE, "application/json")
            .body(call)
    };
    for (request, status) in [
        (post().header("mcp-method", "ping"), StatusCode::BAD_REQUEST),
        (post().header("mcp-name", "read"), StatusCode::BAD_REQUEST),
        (
            post().header("mcp-protocol-version", "latest"),
            StatusCode::BAD_REQUEST,
        ),
        (
            post().header(ORIGIN, "https://evil.example"),
            StatusCode::FORBIDDEN,
        ),
        (post().header("host", "evil.example"), StatusCode::FORBIDDEN),
        (
            session.request(reqwest::Method::POST).body(call),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            session
                .request(reqwest::Method::POST)
                .header(CONTENT_TYPE, "application/json")
                .body(format!("[{call}]")),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    session.id = Some("another".to_owned());
    assert_eq!(session.post(call).await.status(), StatusCode::NOT_FOUND);
    session.id = None;
    assert_eq!(session.post(call).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(stage.runs(), 0);
}

fn token(agent: &str, audience: &str) -> String {
    let claims = Claims::builder(agent)
        .audience(audience)
        .scope("tool:fake:*")
        .build()
        .unwrap();
    issue(&claims, &SigningKey::from_hex(SECRET).unwrap()).unwrap()
}

pub(crate) fn by_token(authorization_servers: Vec<String>) -> Authentication {
    let key = SigningKey::from_hex(SECRET).unwrap().verifying_key();
    Authentication::Token {
        verifier: Verifier::builder(key).audience(AUDIENCE).build().unwrap(),
        resource: ProtectedResource {
            url: AUDIENCE.parse().unwrap(),
            authorization_servers,
            scopes: Vec::new(),
        },
    }
}

#[tokio::test]
async fn a_token_is_for_this_guard_and_a_session_is_of_its_agent() {
    let stage = Stage::new("");
    let authentication = by_token(vec!["https://login.example".to_owned()]);
    let guard = Listening::start(stage.guard(allowing()), stage.upstream(), authentication).await;
    let mut session = Session::new(&guard);
    let call = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}});
    let metadata =
        r#"resource_metadata="https://guard.example/.well-known/oauth-protected-resource/mcp""#;
    for (token, challenge) in [
        (None, format!("Bearer {metadata}")),
        (
            Some(token("ann", "https://other.example")),
            format!(r#"Bearer error="invalid_token", {metadata}"#),
        ),
        (
            Some("forged".to_owned()),
            format!(r#"Bearer error="invalid_token", {metadata}"#),
        ),
    ] {
        session.token = token;
        let response = session.post(&call).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
    }
    for path in ["", "/mcp"] {
        let address = guard.address;
        let url = format!("http://{address}/.well-known/oauth-protected-resource{path}");
        let found = http().get(url).send().await.unwrap().text().await.unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["resource"], AUDIENCE);
        assert_eq!(
            found["authorization_servers"],
            json!(["https://login.example"])
        );
    }
    session.token = Some(token("ann", AUDIENCE));
    session.initialize().await;
    assert_eq!(
        session.call(1).await["result"]["content"][0]["text"],
        "done"
    );
    session.token = Some(token("eve", AUDIENCE));
    let stolen = session
        .post(json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}))
        .await;
    assert_eq!(stolen.status(), StatusCode::NOT_FOUND);
    // The token of the client stays here.
    assert!(!stage.noted("").join("").contains("eyJ"));
}

#[tokio::test]
async fn the_metadata_has_no_empty_list() {
    let stage = Stage::new("");
    let authentication = by_token(Vec::new());
    let guard = Listening::start(stage.guard(allowing()), stage.upstream(), authentication).await;
    let address = guard.address;
    let url = format!("http://{address}/.well-known/oauth-protected-resource/mcp");
    let found = http().get(url).send().await.unwrap().text().await.unwrap();
    let found: Value = serde_json::from_str(&found).unwrap();
    let expected = json!({
        "resource": AUDIENCE,
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["tool:fake:*"],
    });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_client_on_stdio_reaches_a_server_over_http_with_credentials_that_it_never_sees() {
    let stage = Stage::new("");
    // The server is an endpoint that asks for a token: the credentials that the guard holds.
    let authentication = by_token(Vec::new());
    let server = Listening::start(stage.guard(allowing()), stage.upstream(), authentication).await;
    let url = format!("http://{}/mcp", server.address);
    for may_connect in [true, false] {
        let runs = stage.runs();
        let authority = match may_connect {
            true => allowing().allow("mcp.fake:connect"),
            false => allowing(),
        };
        let before = Stage::new("");
        let secret = HostCredential::bearer(&url, token("guard", AUDIENCE).into()).unwrap();
        let secret = secret.granted_by(&authority).unwrap();
        let guard = before.guard(authority);
        let guard = Arc::new(Arc::into_inner(guard).unwrap().with_secret(secret));
        let upstream = HttpUpstream::new(url.parse().unwrap()).unwrap();
        let mut client = Client::start(guard, Upstream::Http(Arc::new(upstream)));
        if may_connect {
            client.initialize().await;
            assert_eq!(
                client.call(1, "write").await["result"]["content"][0]["text"],
                "done"
            );
            assert_eq!(stage.runs(), runs + 1);
        } else {
            let refused = client.request(0, "initialize", json!({})).await;
            assert!(refused["error"].is_object(), "{refused}");
            assert_eq!(stage.runs(), runs);
        }
    }
}

#[test]
fn a_user_or_a_password_in_the_url_of_a_server_is_refused_and_not_repeated() {
    for url in [
        "https://hunter1@mcp.example/mcp",
        "https://hunter1:hunter2@mcp.example/mcp",
        "http://:hunter2@127.0.0.1:9/mcp",
    ] {
        let error = HttpUpstream::new(url.parse().unwrap()).unwrap_err();
        assert!(matches!(error, UpstreamError::UserOrPassword), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"));
    }
}

#[tokio::test]
async fn a_secret_goes_to_its_host_alone_and_only_under_a_permit_of_its_authority() {
    use atlasent::{AnyAction, AuthorityExt};

    let _ = http();
    let authority = MockAuthority::new().allow("use");
    let other = MockAuthority::new().allow("use");
    let secret = HostCredential::bearer("http://127.0.0.1:9", "hunter2".to_owned().into()).unwrap();
    assert!(!format!("{secret:?}").contains("hunter2"));
    let client = secret
        .granted_by(&authority)
        .unwrap()
        .for_action("use")
        .build(reqwest::Client::builder())
        .unwrap();
    let request = |url: &str| reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
    let action = || AnyAction::new("use").unwrap();
    let foreign = other.protect("bot", action()).await.unwrap();
    let refused = client
        .send(&foreign, request("http://127.0.0.1:9/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            atlasent_mcp::credential::CredentialError::Refused(_)
        ),
        "{refused}"
    );
    let permit = authority.protect("bot", action()).await.unwrap();
    for url in [
        "http://127.0.0.1:10/",
        "https://127.0.0.1:9/",
        "http://localhost:9/",
    ] {
        let refused = client.send(&permit, request(url)).await.unwrap_err();
        assert!(
            matches!(
                refused,
                atlasent_mcp::credential::CredentialError::OtherHost { .. }
            ),
            "{refused}"
        );
    }
    for host in [
        "http://a.example",
        "ftp://a.example",
        "https://u:p@a.example",
        "a.example",
    ] {
        assert!(
            HostCredential::bearer(host, "x".to_owned().into()).is_err(),
            "{host}"
        );
    }
    assert!(HostCredential::bearer("https://a.example", "x\ny".to_owned().into()).is_err());
}
