//! Tests required scopes: fixed ones, and those that a request names.

use std::sync::Arc;

use ati_client::ClaimsBuilder;
use atlasent::testing::MockAuthority;
use atlasent_tests::cases::ACTION;
use atlasent_tower::{AtiLayer, ProtectLayer, Refusal, RequestTarget};
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use tower::Layer;

use crate::agents::{agent, any_token, bearing, request, token, verifier};
use crate::answer::{Answer, send};
use crate::inner::Inner;
use crate::ways::PATH;

/// Requires the scope that the header `x-tool` names, including the prefix.
fn scope_from_header() -> AtiLayer {
    AtiLayer::new(verifier()).scope_from(|request| {
        let tool = request.headers.get("x-tool");
        let tool = tool.ok_or_else(|| Refusal::bad_request("it names no tool"))?;
        Ok(String::from_utf8_lossy(tool.as_bytes()).into_owned())
    })
}

fn through(layer: &AtiLayer, claims: ClaimsBuilder, tool: Option<&str>) -> Answer {
    let inner = Inner::new();
    let mut request = bearing(PATH, &token(claims));
    if let Some(tool) = tool {
        let tool = HeaderValue::from_bytes(tool.as_bytes()).unwrap();
        request.headers_mut().insert("x-tool", tool);
    }
    let answer = send(layer.layer(inner.clone()), request);
    assert_eq!(inner.count() == 1, answer.status == 200, "{answer:?}");
    answer
}

#[test]
fn a_scope_that_is_granted_lets_through() {
    let fixed = AtiLayer::new(verifier()).scope("tool:github:search");
    for granted in [
        "tool:github:search",
        "tool:github:*",
        "tool:github_search",
        "*",
    ] {
        let claims = agent().scope("help").scope(granted);
        assert_eq!(
            through(&fixed, claims.clone(), None).status,
            200,
            "{granted}"
        );
        let answer = through(&scope_from_header(), claims, Some("tool:github:search"));
        assert_eq!(answer.status, 200, "{granted}");
    }
}

#[test]
fn a_scope_that_is_not_granted_is_a_403_that_names_it() {
    let fixed = AtiLayer::new(verifier()).scope("tool:github:search");
    for granted in [
        "help",
        "tool:github",
        "tool:github:searches",
        "TOOL:GITHUB:SEARCH",
        "tool:git",
    ] {
        let claims = agent().scope(granted);
        for answer in [
            through(&fixed, claims.clone(), None),
            through(&scope_from_header(), claims, Some("tool:github:search")),
        ] {
            answer.expect_refusal(403, "`tool:github:search`", granted);
            assert_eq!(answer.problem()["scope"], "tool:github:search");
            assert_eq!(
                answer.header(WWW_AUTHENTICATE),
                Some(r#"Bearer error="insufficient_scope", scope="tool:github:search""#)
            );
        }
    }
    // A token without any scope is refused.
    through(&fixed, agent(), None).expect_refusal(403, "does not grant", "no scope");
}

#[test]
fn a_scope_that_a_quoted_string_cannot_hold_does_not_end_it() {
    for scope in [
        "tool:a\"",
        "tool:a\\",
        "tool:\"x\", error=\"y\"",
        "tool:jos\u{e9}",
    ] {
        let scope = scope.replace(' ', "");
        let answer = through(&scope_from_header(), agent().scope("help"), Some(&scope));
        answer.expect_refusal(403, "does not grant", &scope);
        let challenge = r#"Bearer error="insufficient_scope""#;
        assert_eq!(answer.header(WWW_AUTHENTICATE), Some(challenge), "{scope}");
    }
}

#[test]
fn a_scope_that_turns_a_line_around_is_escaped() {
    let answer = through(
        &scope_from_header(),
        agent().scope("help"),
        Some("tool:a\u{202e}b\u{9b}c"),
    );
    answer.expect_refusal(403, r"`tool:a\u{202e}b\u{9b}c`", "escaped");
}

#[test]
fn an_invalid_scope_is_the_callers_mistake_where_the_caller_names_it() {
    for scope in ["", "tool:a tool:b", "tool:a\ttool:b", "tool:a\u{2003}b"] {
        // Even for a token that grants all scopes.
        let answer = through(&scope_from_header(), agent().scope("*"), Some(scope));
        answer.expect_refusal(400, "is not a scope", scope);
    }
    let answer = through(&scope_from_header(), agent().scope("*"), None);
    answer.expect_refusal(400, "it names no tool", "a refusal of its own");
}

#[test]
fn an_invalid_scope_is_our_mistake_where_we_name_it() {
    for scope in ["", "tool:a tool:b"] {
        let answer = through(
            &AtiLayer::new(verifier()).scope(scope),
            agent().scope("*"),
            None,
        );
        answer.expect_refusal(500, "cannot authorize requests", scope);
        assert_eq!(answer.problem().as_object().unwrap().len(), 3);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("scope") && !body.contains("tool:"), "{body}");
        assert!(!answer.headers.contains_key(WWW_AUTHENTICATE));
    }
}

#[test]
fn a_stranger_is_not_told_which_scope_is_missing() {
    for layer in [
        scope_from_header(),
        AtiLayer::new(verifier()).scope("tool:secret"),
    ] {
        for request in [request(PATH), bearing(PATH, "not.a.token")] {
            let answer = send(layer.layer(Inner::new()), request);
            answer.expect_refusal(401, "token", "a stranger");
            assert!(!String::from_utf8_lossy(&answer.body).contains("tool"));
        }
    }
}

#[test]
fn without_the_scope_the_authority_is_not_asked() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let protect = ProtectLayer::new(Arc::clone(&authority), RequestTarget::action(ACTION));
    let service = (AtiLayer::new(verifier()).scope("tool:deploy"), protect).layer(Inner::new());
    let answer = send(
        service.clone(),
        bearing(PATH, &token(agent().scope("help"))),
    );
    assert_eq!((answer.status.as_u16(), authority.calls().len()), (403, 0));
    let answer = send(service, bearing(PATH, any_token()));
    assert_eq!((answer.status.as_u16(), authority.calls().len()), (200, 2));
}
