//! A server over HTTP that is asked for its tools.

use std::sync::Arc;

use ati_client::{Claims, SigningKey, issue};
use atlasent::testing::MockAuthority;
use atlasent_mcp::credential::HostCredential;
use atlasent_mcp::guard::Upstream;
use atlasent_mcp::guard::describe::{DescribeCredentials, DescribeError, describe};
use atlasent_mcp::guard::http::HttpUpstream;
use atlasent_mcp::{Caller, Gate, Mapping};
use serde_json::Value;

use super::http::{AUDIENCE, SECRET, by_token};
use super::over_http::Listening;
use super::support::{Stage, allowing};

fn names(tools: &[Value]) -> Vec<&str> {
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_tools_of_a_server_over_http_are_listed_and_its_session_ends() {
    let stage = Stage::new("");
    let server = stage.http_upstream().await;
    let described = describe(&server, None).await.unwrap();
    assert_eq!(names(&described.tools), ["write", "read"]);
    assert!(described.prompts.is_empty());
    assert_eq!(stage.noted("ended").len(), 1);
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn the_error_of_a_server_over_http_says_how_it_failed_to_answer() {
    for (fault, reason) in [
        ("500@initialize", "HTTP 500"),
        ("close@initialize", "cannot be reached"),
        ("html@tools/list", "is invalid"),
        ("other-id@tools/list", "answered another request"),
    ] {
        let stage = Stage::new(fault);
        let server = stage.http_upstream().await;
        let failed = describe(&server, None).await.unwrap_err();
        assert!(matches!(failed, DescribeError::Failed { .. }), "{failed}");
        assert!(failed.to_string().contains(reason), "{fault}: {failed}");
    }
}

#[tokio::test]
async fn credentials_are_sent_only_under_a_permit_to_connect() {
    let stage = Stage::new("");
    // The server is an endpoint that asks for a token.
    let server = Listening::start(
        stage.guard(allowing()),
        stage.upstream(),
        by_token(Vec::new()),
    )
    .await;
    let url = format!("http://{}/mcp", server.address);
    let upstream = HttpUpstream::new(url.parse().unwrap()).unwrap();
    let upstream = Upstream::Http(Arc::new(upstream));
    let claims = Claims::builder("guard")
        .audience(AUDIENCE)
        .scope("tool:fake:*");
    let key = SigningKey::from_hex(SECRET).unwrap();
    let token = issue(&claims.build().unwrap(), &key).unwrap();

    let refused = describe(&upstream, None).await.unwrap_err();
    assert!(refused.to_string().contains("HTTP 401"), "{refused}");
    for may_connect in [false, true] {
        let authority = match may_connect {
            true => MockAuthority::new().allow("mcp.other:connect"),
            false => MockAuthority::new(),
        };
        let secret = HostCredential::bearer(&url, token.clone().into()).unwrap();
        let secret = secret.granted_by(&authority).unwrap();
        let mapping = Mapping::standard("other").unwrap();
        let credentials = DescribeCredentials {
            gate: Gate::builder(Arc::new(authority), mapping).build(),
            caller: Caller::configured("operator").unwrap(),
            secret,
        };
        let described = describe(&upstream, Some(credentials)).await;
        match may_connect {
            true => assert_eq!(names(&described.unwrap().tools), ["write", "read"]),
            false => {
                let failed = described.unwrap_err().to_string();
                assert!(failed.contains("was not sent"), "{failed}");
                assert!(!failed.contains(&token), "{failed}");
                // The endpoint saw no request with the token, so it started no server.
                assert!(stage.noted("got ").is_empty());
            }
        }
    }
    assert_eq!(stage.runs(), 0);
}
