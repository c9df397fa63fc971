//! Tests that invalid tokens get a 401 that says what is wrong, and that the inner service is not
//! called.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ati_client::{Claims, SigningKey, issue};
use atlasent_tower::AtiLayer;
use http::Request;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};
use tower::Layer;

use crate::agents::{
    agent, any_token, authorized, bearing, hs256, raw_claims, raw_token, request, token, verifier,
};
use crate::answer::{Answer, send};
use crate::inner::{Body, Inner};
use crate::ways::PATH;

const CHALLENGE: &str = r#"Bearer error="invalid_token""#;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

/// Returns raw claims, with one of them changed or removed.
fn changed(claim: &str, value: Value) -> Value {
    let mut claims = raw_claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(claim),
        value => claims.as_object_mut().unwrap().insert(claim.into(), value),
    };
    claims
}

fn signed_by_another() -> String {
    let other = SigningKey::from_hex(&"7f".repeat(32)).unwrap();
    issue(&agent().scope("*").build().unwrap(), &other).unwrap()
}

/// Returns the token with the middle character of one of its three parts replaced.
fn tampered(part: usize) -> String {
    let mut parts: Vec<String> = any_token().split('.').map(str::to_owned).collect();
    let middle = parts[part].len() / 2;
    let replaced = if parts[part].as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    parts[part].replace_range(middle..=middle, replaced);
    parts.join(".")
}

/// Returns a token for every scope, delegated from one with the scopes of `parent`, with these
/// actors.
fn delegated(parent: &str, actors: &[&str]) -> String {
    let mut claims = raw_claims();
    claims["delegation"] = json!([{"aud": [claims["aud"]], "exp": claims["exp"], "scope": parent}]);
    let nested = |earlier: Value, actor: &&str| match earlier {
        Value::Null => json!({"sub": actor}),
        earlier => json!({"sub": actor, "act": earlier}),
    };
    let act = actors.iter().fold(Value::Null, nested);
    if !act.is_null() {
        claims["act"] = act;
    }
    raw_token(&hs256(), &claims)
}

/// Returns invalid tokens, with a part of the detail that the caller gets.
fn bad_tokens() -> Vec<(&'static str, String, &'static str)> {
    let with = |claim: &str, value: Value| raw_token(&hs256(), &changed(claim, value));
    let header = |alg: &str| raw_token(&json!({"alg": alg, "typ": "JWT"}), &raw_claims());
    let unsigned = |alg: &str| {
        let token = header(alg);
        let (message, _) = token.rsplit_once('.').unwrap();
        format!("{message}.")
    };
    let hour = Duration::from_secs(3600);
    let expired = agent().issued_at(now() - 7200).ttl(hour);
    let in_an_hour = now() + 3600;
    vec![
        ("expired", token(expired), "expired"),
        (
            "not valid yet",
            with("nbf", in_an_hour.into()),
            "ahead of this machine's clock",
        ),
        (
            "of the future",
            token(agent().issued_at(in_an_hour)),
            "ahead of this machine's clock",
        ),
        (
            "for somebody else",
            token(agent().audience("billing")),
            "another audience",
        ),
        ("for nobody", with("aud", json!([])), "another audience"),
        (
            "signed by another",
            signed_by_another(),
            "signature is invalid",
        ),
        ("a changed payload", tampered(1), "token"),
        ("a changed signature", tampered(2), "signature is invalid"),
        ("a changed header", tampered(0), "token"),
        ("`none`", header("none"), "signed with HS256"),
        ("`none`, unsigned", unsigned("none"), "signed with HS256"),
        ("unsigned", unsigned("HS256"), "signature"),
        ("HS384", header("HS384"), "signed with HS256"),
        ("HS512", header("HS512"), "signed with HS256"),
        ("RS256", header("RS256"), "signed with HS256"),
        ("ES256", header("ES256"), "signed with HS256"),
        ("hs256", header("hs256"), "signed with HS256"),
        ("no `exp`", with("exp", Value::Null), "`exp`"),
        ("no `sub`", with("sub", Value::Null), "`sub`"),
        ("no `scope`", with("scope", Value::Null), "`scope`"),
        ("`scope` as a list", with("scope", json!(["*"])), "`scope`"),
        ("`exp` as a text", with("exp", "9999999999".into()), "`exp`"),
        (
            "`ati` of a later version",
            with("ati", json!({"v": 2})),
            "`ati.v` is 2",
        ),
        (
            "`ati` without a version",
            with("ati", json!({"rate": {}})),
            "`ati`",
        ),
        (
            "more scopes than its parent",
            delegated("help", &["helper"]),
            "more than its parent",
        ),
        (
            "a chain without an actor",
            delegated("*", &[]),
            "`delegation` is invalid",
        ),
        (
            "too many actors",
            delegated("*", &["helper"; 9]),
            "at most 8 actors",
        ),
        (
            "an actor without a name",
            with("act", json!({"sub": ""})),
            "`act`",
        ),
        ("two parts", "a.b".into(), "malformed"),
        ("four parts", format!("{}.a", any_token()), "malformed"),
        ("padded", format!("{}=", any_token()), "malformed"),
        ("quoted", format!("\"{}\"", any_token()), "malformed"),
        ("8 KiB", format!("a.b.{}", "c".repeat(8188)), "malformed"),
        (
            "over 8 KiB",
            format!("a.b.{}", "c".repeat(8189)),
            "8193 bytes",
        ),
        (
            "far over 8 KiB",
            format!("{}{}", any_token(), "A".repeat(60_000)),
            "are allowed",
        ),
    ]
}

/// Asserts that a request is refused because its token is not accepted.
fn refused(layer: &AtiLayer, request: Request<Body>, detail: &str, case: &str) -> Answer {
    challenged(layer, request, detail, case, CHALLENGE)
}

/// Asserts that a request is refused with this challenge.
fn challenged(
    layer: &AtiLayer,
    request: Request<Body>,
    detail: &str,
    case: &str,
    challenge: &str,
) -> Answer {
    let inner = Inner::new();
    let answer = send(layer.layer(inner.clone()), request);
    answer.expect_refusal(401, detail, case);
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some(challenge), "{case}");
    assert_eq!(inner.count(), 0, "{case}");
    answer
}

#[test]
fn a_token_that_may_not_be_believed_is_a_401_that_says_why() {
    // The second layer needs no token, and still refuses an invalid one.
    let layers = [
        AtiLayer::new(verifier()),
        AtiLayer::new(verifier()).optional(),
        AtiLayer::new(verifier()).scope("tool:deploy"),
    ];
    for layer in layers {
        for (case, token, detail) in bad_tokens() {
            let answer = refused(&layer, bearing(PATH, &token), detail, case);
            let members = answer.problem();
            assert_eq!(members.as_object().unwrap().len(), 3, "{case}: {members}");
            assert!(!members.to_string().contains(&token), "{case}: {members}");
        }
    }
}

#[test]
fn without_a_token_nothing_is_called() {
    for layer in [
        AtiLayer::new(verifier()),
        AtiLayer::new(verifier()).scope("tool:deploy"),
        AtiLayer::new(verifier()).optional().scope("tool:deploy"),
        AtiLayer::new(verifier()).scope("tool:deploy").optional(),
    ] {
        let request = request(PATH);
        challenged(&layer, request, "has no token", "no token", "Bearer");
    }
}

#[test]
fn where_a_token_is_optional_a_request_without_one_goes_through_as_nobodys() {
    let inner = Inner::new();
    let layer = AtiLayer::new(verifier()).optional();
    let answer = send(layer.layer(inner.clone()), request(PATH));
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"ran"[..]));
    assert!(inner.seen()[0].extensions.get::<Claims>().is_none());

    let answer = send(layer.layer(inner.clone()), bearing(PATH, any_token()));
    assert_eq!(answer.status, 200);
    assert!(inner.seen()[1].extensions.get::<Claims>().is_some());
}

#[test]
fn a_header_that_holds_no_token_is_not_the_same_as_none() {
    let layer = AtiLayer::new(verifier()).optional();
    for value in ["Bearer", "Bearer ", "bearer   "] {
        let request = authorized(PATH, value.as_bytes());
        refused(&layer, request, "`Authorization`", value);
    }
    // RFC 6750 §3.1: another scheme is not an error of the token.
    for value in ["", " ", "Basic YTpi", "bearer\t"] {
        let request = authorized(PATH, value.as_bytes());
        challenged(&layer, request, "`Authorization`", value, "Bearer");
    }
}

#[test]
fn within_the_leeway_an_expired_token_is_believed() {
    let inner = Inner::new();
    for (ago, status) in [(30, 200), (90, 401)] {
        let expired = agent().issued_at(now() - 600).expires_at(now() - ago);
        let request = bearing(PATH, &token(expired));
        let answer = send(AtiLayer::new(verifier()).layer(inner.clone()), request);
        assert_eq!(answer.status, status, "{ago}");
    }
}
