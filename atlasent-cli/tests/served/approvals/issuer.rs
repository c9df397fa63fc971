//! Approvers with a token of an OpenID Connect issuer, in place of an API key.

use std::fs;

use atlasent_tests::issuer::Issuer;
use serde_json::json;

use super::super::commands::output;
use super::Served;

/// Starts an issuer, and a server that accepts its tokens.
async fn with_issuer() -> (Issuer, Served, tempfile::TempDir) {
    let issuer = Issuer::start("127.0.0.1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oidc.toml");
    let settings = format!("issuer = \"{}\"\naudience = \"atlasent\"\n", issuer.url());
    fs::write(&file, settings).unwrap();
    let served = Served::start(&["--oidc", file.to_str().unwrap()]);
    (issuer, served, folder)
}

/// Runs a command with a token in the environment. The API key is that of the agent, which must not
/// decide.
fn run_with_token(served: &Served, token: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = served.command(&served.agent, arguments);
    output(command.args(["--token-env", "TOKEN"]).env("TOKEN", token))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_an_issuer_decide_with_a_token_from_the_environment() {
    let (issuer, served, _folder) = with_issuer().await;
    let id = served.ask()["escalation_id"].as_str().unwrap().to_owned();
    let claims = json!({"roles": ["release-manager"]});
    for person in ["carol", "dave"] {
        // The tools of issuers print a line break after a token.
        let token = format!("{}\n", issuer.bearer_token(person, &claims));
        let ok = |arguments: &[&str]| {
            let (code, stdout, stderr) = run_with_token(&served, &token, arguments);
            assert_eq!(code, 0, "{arguments:?}: {stderr}");
            stdout
        };
        assert!(ok(&["approvals", "list"]).contains(&id));
        assert!(ok(&["approvals", "show", &id]).contains("4f2a"));
        ok(&["approvals", "approve", &id]);
    }
    let allowed = served.ask();
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    let reason = allowed["reason"].as_str().unwrap();
    assert!(
        reason.contains("carol") && reason.contains("dave"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unacceptable_token_decides_nothing_and_is_not_printed() {
    let (issuer, served, _folder) = with_issuer().await;
    let id = served.ask()["escalation_id"].as_str().unwrap().to_owned();
    let intern = issuer.bearer_token("ian", &json!({"roles": ["intern"]}));
    let expired = issuer.bearer_token("carol", &json!({"exp": 1}));
    for (token, exit_code, reason) in [
        (&*intern, 1, "it takes role:release-manager"),
        (&*expired, 2, "the token has expired"),
        ("e30.e30.hunter2", 2, "the token is malformed"),
        ("hunter2 hunter2", 2, "the bearer token is invalid"),
        ("ask_live_hunter2", 2, "the bearer token is an API key"),
        ("", 2, "the bearer token is invalid"),
    ] {
        let (code, stdout, stderr) = run_with_token(&served, token, &["approvals", "approve", &id]);
        assert_eq!((code, &*stdout), (exit_code, ""), "{stderr}");
        assert!(stderr.contains(reason), "{reason}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
        let signature = token.rsplit('.').next().unwrap_or_default();
        assert!(
            signature.is_empty() || !stderr.contains(signature),
            "{stderr}"
        );
    }
    let arguments = ["approvals", "approve", &*id, "--token-env", "NOTHING"];
    let (code, stdout, stderr) = served.run(&served.approvers[0], &arguments);
    assert_eq!((code, &*stdout), (2, ""), "{stderr}");
    assert!(stderr.contains("`NOTHING` is not set"), "{stderr}");
    let alice = &served.approvers[0];
    let shown = served.ok(alice, &["approvals", "show", &id]);
    assert!(shown.contains("0 of 2"), "{shown}");
}
