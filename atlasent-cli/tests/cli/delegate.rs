//! `atlasent token delegate`: its output and its refusals.

use serde_json::{Value, json};

use crate::support::{Atlasent, atlasent, now, payload, sign};

/// A token for `tool:github:*` at ten calls an hour, for ten minutes.
fn parent() -> String {
    sign(&json!({
        "sub": "agent-7", "aud": ["ati-proxy", "billing"], "iat": now(), "exp": now() + 600,
        "scope": "tool:github:* help", "jti": "root",
        "ati": {"v": 1, "rate": {"tool:github:*": "10/hour"}},
    }))
}

fn delegate(arguments: &[&str], token: &str) -> Atlasent {
    let command = ["token", "delegate", "--actor", "helper"];
    atlasent(command.iter().chain(arguments))
        .keyed()
        .stdin(token)
}

#[test]
fn a_delegate_s_token_is_narrower_and_validates() {
    let parent = parent();
    let arguments = [
        "--scope",
        "tool:github:search",
        "--ttl",
        "60",
        "--aud",
        "ati-proxy",
    ];
    let rate = ["--rate", "tool:github:*=2/hour"];
    let token = delegate(&[&arguments[..], &rate].concat(), &parent).prints();
    let token = token.strip_suffix('\n').unwrap();
    let claims: Value = serde_json::from_slice(&payload(token)).unwrap();
    assert_eq!(claims["sub"], "agent-7");
    assert_eq!(claims["act"], json!({"sub": "helper"}));
    assert_eq!(claims["scope"], "tool:github:search");
    assert_eq!(claims["aud"], "ati-proxy");
    assert_eq!(claims["ati"]["rate"], json!({"tool:github:*": "2/hour"}));
    assert!(claims["exp"].as_u64().unwrap() <= now() + 60);
    assert_eq!(claims["delegation"][0]["jti"], "root");
    atlasent(["token", "validate"])
        .keyed()
        .stdin(token)
        .prints();

    let again = atlasent(["token", "delegate", "--actor", "crawler", "--scope", ""]);
    let again = again.keyed().stdin(token).prints();
    let claims: Value = serde_json::from_slice(&payload(again.trim_end())).unwrap();
    assert_eq!(
        claims["act"],
        json!({"sub": "crawler", "act": {"sub": "helper"}})
    );
}

#[test]
fn a_longer_life_ends_with_the_parent_s() {
    let parent = parent();
    let token = delegate(&["--scope", "help", "--ttl", "30d"], &parent).prints();
    let exp = |token: &str| -> Value {
        let claims: Value = serde_json::from_slice(&payload(token)).unwrap();
        claims["exp"].clone()
    };
    assert_eq!(exp(token.trim_end()), exp(&parent));
}

#[test]
fn more_than_the_parent_has_is_refused_in_one_line() {
    for (arguments, says) in [
        (&["--scope", "tool:*"][..], "`tool:*` in its `scope`"),
        (
            &["--scope", "", "--aud", "shipping"],
            "`shipping` in its `aud`",
        ),
        (
            &["--scope", "", "--rate", "tool:github:*=1/second"],
            "`tool:github:*` in its `ati.rate`",
        ),
    ] {
        let ended = delegate(arguments, &parent()).run();
        assert_eq!((ended.code, &*ended.stdout), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_token_that_is_not_valid_is_not_delegated() {
    let mut expired: Value = serde_json::from_slice(&payload(&parent())).unwrap();
    expired["exp"] = json!(now() - 30);
    for token in ["", "x.y.z", &sign(&expired), &format!("{}x", parent())] {
        let ended = delegate(&["--scope", ""], token).run();
        assert_eq!((ended.code, &*ended.stdout), (1, ""), "{}", ended.stderr);
    }
}

#[test]
fn bad_usage_and_keys_are_misuse() {
    for arguments in [
        &["--scope", "", "--actor", ""][..],
        &[],
        &["--scope", "", "--ttl", "0"],
    ] {
        let ended = delegate(arguments, &parent()).run();
        assert_eq!((ended.code, &*ended.stdout), (2, ""), "{}", ended.stderr);
    }
    let keyless = atlasent(["token", "delegate", "--actor", "a", "--scope", ""]);
    assert_eq!(keyless.stdin(parent()).run().code, 2);
}
