//! `atlasent token issue`.

use serde_json::json;

use crate::support::{Atlasent, atlasent, claims, header};

/// Runs `token issue` for the agent `a` with the scope `help` and these options.
fn issue(options: &[&str]) -> Atlasent {
    atlasent(
        ["token", "issue", "--sub", "a", "--scope", "help"]
            .iter()
            .chain(options),
    )
    .keyed()
}

#[test]
fn the_token_is_printed_alone() {
    let output = issue(&[]).prints();
    let token = output.strip_suffix('\n').unwrap();
    let in_alphabet = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    assert!(token.chars().all(in_alphabet), "{output:?}");
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(header(token), json!({"alg": "HS256", "typ": "JWT"}));
}

#[test]
fn omitted_options_have_the_contract_s_defaults() {
    let claims = claims(&issue(&[]).prints());
    for (name, value) in [
        ("sub", "a"),
        ("aud", "ati-proxy"),
        ("iss", "ati-orchestrator"),
        ("scope", "help"),
    ] {
        assert_eq!(claims[name], value);
    }
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
    // A UUIDv4: its version and variant are at fixed positions.
    let id = claims["jti"].as_str().unwrap();
    assert!(
        id.len() == 36 && &id[14..15] == "4" && "89ab".contains(&id[19..20]),
        "{id}"
    );
    for absent in ["job_id", "sandbox_id", "nbf"] {
        assert!(claims.get(absent).is_none(), "{claims}");
    }
    assert!(claims["ati"].get("rate").is_none(), "{claims}");
}

#[test]
fn each_option_becomes_its_claim() {
    let claims = claims(
        &atlasent([
            "token",
            "issue",
            "--sub",
            "agent-ü",
            "--scope",
            "tool:a skill:b help",
            "--ttl",
            "60",
            "--aud",
            "gate",
            "--iss",
            "me",
            "--rate",
            "tool:a=10/hour",
            "--rate",
            "skill:*=3/m",
            "--job-id",
            "J 1",
            "--sandbox-id",
            "B",
        ])
        .keyed()
        .prints(),
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        60
    );
    for (name, value) in [
        ("sub", "agent-ü"),
        ("scope", "tool:a skill:b help"),
        ("aud", "gate"),
        ("iss", "me"),
        ("job_id", "J 1"),
        ("sandbox_id", "B"),
    ] {
        assert_eq!(claims[name], value);
    }
    assert_eq!(
        claims["ati"],
        json!({"v": 1, "rate": {"tool:a": "10/hour", "skill:*": "3/minute"}})
    );
}

#[test]
fn a_token_may_grant_nothing() {
    let output = atlasent(["token", "issue", "--sub", "a", "--scope", ""])
        .keyed()
        .prints();
    assert_eq!(claims(&output)["scope"], "");
}

#[test]
fn the_environment_s_issuer_is_the_default_one() {
    let output = issue(&[]).env("ATI_JWT_ISSUER", "ours").prints();
    assert_eq!(claims(&output)["iss"], "ours");
    let output = issue(&["--iss", "mine"])
        .env("ATI_JWT_ISSUER", "ours")
        .prints();
    assert_eq!(claims(&output)["iss"], "mine");
}

#[test]
fn two_tokens_are_never_the_same() {
    assert_ne!(
        claims(&issue(&[]).prints())["jti"],
        claims(&issue(&[]).prints())["jti"]
    );
}

#[test]
fn a_rate_is_split_at_its_last_equals_sign() {
    let output = issue(&["--rate", "tool:a=b=1/s"]).prints();
    assert_eq!(
        claims(&output)["ati"]["rate"],
        json!({"tool:a=b": "1/second"})
    );
}

#[test]
fn an_invalid_rate_is_bad_usage() {
    for rate in [
        "",
        "tool:a",
        "tool:a=",
        "=1/s",
        "tool:a=1",
        "tool:a=-1/s",
        "tool:a=1.5/s",
        "tool:a=1/week",
        "tool:a=1/Hour",
        "tool:a=1 / s",
        "tool:a=/s",
        "tool:a=99999999999999999999/s",
    ] {
        let line = issue(&["--rate", rate]).misuse();
        assert!(line.contains("`--rate <PATTERN=N/UNIT>`"), "{line}");
    }
}

#[test]
fn one_pattern_has_one_rate() {
    let line = issue(&["--rate", "tool:a=1/s", "--rate", "tool:a=2/s"]).misuse();
    assert!(line.contains("`tool:a` has two rates"), "{line}");
}

#[test]
fn a_wildcard_without_a_boundary_draws_a_warning_and_is_issued() {
    let run = atlasent([
        "token",
        "issue",
        "--sub",
        "a",
        "--scope",
        "tool:git* help tool:github:* *",
    ])
    .keyed()
    .run();
    assert_eq!(run.code, 0);
    assert_eq!(
        claims(&run.stdout)["scope"],
        "tool:git* help tool:github:* *"
    );
    let warnings: Vec<_> = run.stderr.lines().collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("warning: `tool:git*` grants"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].starts_with("warning: `*` grants"),
        "{warnings:?}"
    );
}

#[test]
fn a_failure_stays_one_line_whatever_the_scope() {
    let line = atlasent(["token", "issue", "--sub", "", "--scope", "tool:git*"])
        .keyed()
        .misuse();
    assert!(line.contains("`sub`"), "{line}");
}

#[test]
fn claims_that_cannot_be_issued_are_bad_usage() {
    let long = "tool:a ".repeat(2000);
    for options in [
        ["--sub", "", "--scope", "help"],
        ["--sub", "a", "--scope", &long],
    ] {
        atlasent(["token", "issue"].iter().chain(&options))
            .keyed()
            .misuse();
    }
    issue(&["--rate", "tool:a b=1/s"]).misuse();
    issue(&["--aud", ""]).misuse();
    issue(&["--iss", ""]).misuse();
    issue(&["--ttl", &u64::MAX.to_string()]).misuse();
}
