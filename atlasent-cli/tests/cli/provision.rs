//! `atlasent token provision`, and the commands in the help of `atlasent token`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};

use crate::support::{Atlasent, atlasent, claims};

fn provision(options: &[&str]) -> Atlasent {
    let always = [
        "token",
        "provision",
        "--agent",
        "a",
        "--proxy-url",
        "https://ati.example.com",
    ];
    atlasent(always.iter().chain(options)).keyed()
}

/// Returns the claims of the token in the printed variables.
fn provisioned(output: &str) -> Value {
    claims(
        output
            .lines()
            .nth(1)
            .unwrap()
            .strip_prefix("ATI_SESSION_TOKEN=")
            .unwrap(),
    )
}

#[test]
fn it_prints_the_two_variables_and_nothing_else() {
    let output = provision(&["--tool", "web_search"]).prints();
    let token = output
        .strip_prefix("ATI_PROXY_URL=https://ati.example.com\nATI_SESSION_TOKEN=")
        .and_then(|rest| rest.strip_suffix('\n'))
        .unwrap_or_else(|| panic!("{output}"));
    assert!(!token.contains(char::is_whitespace));
    atlasent(["token", "validate", token]).keyed().prints();
}

#[test]
fn it_prints_one_json_object_when_asked() {
    let output = provision(&["--json"]).prints();
    assert_eq!(output.matches('\n').count(), 1);
    let printed: Value = serde_json::from_str(&output).unwrap();
    let token = printed["ATI_SESSION_TOKEN"].as_str().unwrap();
    assert_eq!(
        printed,
        json!({"ATI_PROXY_URL": "https://ati.example.com", "ATI_SESSION_TOKEN": token})
    );
    atlasent(["token", "validate", token]).keyed().prints();
}

#[test]
fn the_token_grants_tools_then_skills_then_scopes() {
    let output = provision(&[
        "--scope",
        "help",
        "--skill",
        "triage",
        "--skill",
        "skill:report",
        "--tool",
        "github:search",
        "tool:web_search",
        "--tool",
        "mail",
    ])
    .prints();
    let claims = provisioned(&output);
    assert_eq!(claims["sub"], "a");
    assert_eq!(
        claims["scope"],
        "tool:github:search tool:web_search tool:mail skill:triage skill:report help"
    );
    assert_eq!(
        (&claims["aud"], &claims["iss"]),
        (&json!("ati-proxy"), &json!("ati-orchestrator"))
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
}

#[test]
fn lifetime_and_rates_are_the_caller_s() {
    let claims = provisioned(
        &provision(&["--ttl", "60", "--rate", "tool:*=1/d", "--rate", "help=0/s"]).prints(),
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        60
    );
    assert_eq!(
        claims["ati"],
        json!({"v": 1, "rate": {"tool:*": "1/day", "help": "0/second"}})
    );
}

#[test]
fn the_environment_s_issuer_is_the_issuer() {
    let output = provision(&[]).env("ATI_JWT_ISSUER", "ours").prints();
    assert_eq!(provisioned(&output)["iss"], "ours");
}

#[test]
fn the_proxy_s_address_loses_all_its_trailing_slashes() {
    let run = |url| atlasent(["token", "provision", "--agent", "a", "--proxy-url", url]).keyed();
    for url in [
        "http://localhost:8090",
        "http://localhost:8090/",
        "http://localhost:8090///",
    ] {
        assert!(
            run(url)
                .prints()
                .starts_with("ATI_PROXY_URL=http://localhost:8090\n")
        );
    }
    assert!(
        run("https://host/ati//")
            .prints()
            .starts_with("ATI_PROXY_URL=https://host/ati\n")
    );
}

#[test]
fn an_address_that_would_break_a_line_is_bad_usage() {
    for url in [
        "",
        "/",
        "ati.example.com",
        "ftp://host",
        "https://host\nX=1",
        "https://host X=1",
        "https://",
        "https://h\u{7f}",
        "https://h\u{202e}",
        "https://h/?key=1",
        "https://h#key",
    ] {
        atlasent(["token", "provision", "--agent", "a", "--proxy-url", url])
            .keyed()
            .misuse();
    }
}

#[test]
fn an_address_with_user_information_is_bad_usage_and_not_repeated() {
    for url in [
        "https://user:hunter2@host",
        "https://hunter2@host/ati",
        "http://user:hunter2@[::1]:8090",
        "https://user:hunter2\\@host",
        "https://user:hunter2@host@other",
    ] {
        let line = atlasent(["token", "provision", "--agent", "a", "--proxy-url", url])
            .keyed()
            .misuse();
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn an_invalid_name_is_bad_usage() {
    for options in [
        ["--tool", ""],
        ["--tool", "a b"],
        ["--tool", "tool:"],
        ["--skill", "a\tb"],
        ["--skill", ""],
        ["--scope", "a b"],
        ["--scope", ""],
        ["--rate", "tool:a"],
    ] {
        provision(&options).misuse();
    }
    atlasent([
        "token",
        "provision",
        "--agent",
        "",
        "--proxy-url",
        "https://h",
    ])
    .keyed()
    .misuse();
}

#[test]
fn a_wildcard_without_a_boundary_draws_a_warning() {
    let run = provision(&["--tool", "git*", "--tool", "github:*", "--skill", "*"]).run();
    assert_eq!(run.code, 0);
    assert_eq!(run.stdout.lines().count(), 2);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.starts_with("warning: `tool:git*` grants"),
        "{}",
        run.stderr
    );
}

/// Runs the commands in the help of `atlasent token` unchanged.
#[test]
fn the_commands_in_the_help_provision_a_sandbox() {
    let help = atlasent(["token", "--help"]).prints();
    let commands: Vec<_> = help
        .split_once("Provision a sandbox for an agent:\n")
        .unwrap()
        .1
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert_eq!(
        commands.len(),
        4,
        "three commands, and one to check: {commands:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    // A fake `docker` that runs `env` with the variables of the file only.
    fs::write(&docker, "#!/bin/sh\nenv -i $(cat \"$3\") env\n").unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_atlasent")).parent().unwrap();
    let path = [folder.path(), binaries]
        .map(|p| p.display().to_string())
        .join(":");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands.join("\n")])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{path}:{}", env::var("PATH").unwrap()))
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("ATI_PROXY_URL=https://ati.example.com\n"),
        "{printed}"
    );
    assert!(printed.contains("ATI_SESSION_TOKEN=ey"), "{printed}");
    assert!(!printed.contains("ATI_JWT_SECRET"), "{printed}");
    let claims: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("deploy-bot"), &json!("tool:github:search"))
    );
}
