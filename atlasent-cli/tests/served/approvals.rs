//! A held call from the question to the result, as its users do it: with commands, in two
//! terminals.

mod issuer;
mod watch;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::commands::{assert_tells, create_live_key, output};
use super::http::Connection;
use super::process::{Server, atlasent};

const POLICIES: &str = r#"
permit (principal, action, resource);

@id("four-eyes")
@decision("hold")
@reason("a release needs two people")
@approvers("role:release-manager")
@quorum("2")
@redact("token")
forbid (principal, action == Action::"deploy", resource);
"#;

/// A server with one organization, and the commands against it.
struct Served {
    server: Server,
    data: tempfile::TempDir,
    agent: String,
    /// The API keys of alice and bob, who may approve, and of ian, who may not.
    approvers: [String; 3],
}

impl Served {
    fn start(options: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let policies = data.path().join("policies");
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("deploy.cedar"), POLICIES).unwrap();
        let folder = data.path().to_str().unwrap();
        let agent = create_live_key(folder, &["--name", "agent"]);
        let people = [
            ("alice", "release-manager"),
            ("bob", "release-manager"),
            ("ian", "intern"),
        ];
        let approvers = people
            .map(|(name, role)| create_live_key(folder, &["--approver", name, "--role", role]));
        let mut command = atlasent();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", folder])
            .args(options);
        Self {
            server: Server::run(command),
            agent,
            approvers,
            data,
        }
    }

    /// Runs a command as the holder of a key. Returns its exit code and both outputs.
    fn run(&self, key: &str, arguments: &[&str]) -> (i32, String, String) {
        output(&mut self.command(key, arguments))
    }

    fn command(&self, key: &str, arguments: &[&str]) -> Command {
        let mut command = atlasent();
        command.args(arguments).env("ATLASENT_API_KEY", key).env(
            "ATLASENT_BASE_URL",
            format!("http://{}", self.server.address),
        );
        command
    }

    /// Runs a command that succeeds. Returns its standard output.
    fn ok(&self, key: &str, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(key, arguments);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let mut connection = Connection::open(self.server.address, &self.agent).unwrap();
        connection.post(path, body).unwrap().body
    }

    fn ask(&self) -> Value {
        let context = json!({"commit": "4f2a", "token": "hunter2-hunter2"});
        self.post(
            "/v1-evaluate",
            &json!({"action_type": "deploy", "actor_id": "bot", "context": context}),
        )
    }
}

#[test]
fn a_held_call_is_released_from_another_terminal_and_its_story_is_told() {
    let served = Served::start(&["--approval-url", "https://approve.example/{id}"]);
    let [alice, bob, ian] = &served.approvers;
    let held = served.ask();
    assert_eq!(held["decision"], "hold", "{held}");
    let id = held["escalation_id"].as_str().unwrap();
    assert_eq!(
        held["approval_url"],
        format!("https://approve.example/{id}")
    );

    let list = served.ok(alice, &["approvals", "list"]);
    assert!(
        list.contains(id) && list.contains("bot asks for deploy"),
        "{list}"
    );
    let shown = served.ok(alice, &["approvals", "show", id]);
    for text in [
        "a release needs two people",
        "four-eyes",
        "role:release-manager",
        "4f2a",
        "0 of 2",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");

    let (code, _, stderr) = served.run(ian, &["approvals", "approve", id]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.starts_with("refused: "), "{stderr}");
    assert!(stderr.contains("role:release-manager"), "{stderr}");
    // The key lacks the scope, which is no matter of this decision.
    let (code, _, stderr) = served.run(&served.agent, &["approvals", "approve", id]);
    assert_eq!(code, 2, "{stderr}");
    served.ok(
        alice,
        &["approvals", "approve", id, "--note", "the tests passed"],
    );
    assert_eq!(served.ask()["decision"], "hold");
    let approved = served.ok(bob, &["approvals", "approve", id, "--json"]);
    let approved: Value = serde_json::from_str(&approved).unwrap();
    assert_eq!(approved["approval"]["status"], "approved");

    let allowed = served.ask();
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    let token = &allowed["permit_token"];
    let verify = json!({"permit_token": token, "action_type": "deploy", "actor_id": "bot"});
    assert_eq!(served.post("/v1-verify-permit", &verify)["valid"], true);
    let receipt = json!({"permit_token": token, "outcome": "completed", "duration_ms": 1_200});
    let permit = allowed["permit_id"].as_str().unwrap();
    served.post(&format!("/v1/permits/{permit}/complete"), &receipt);
    assert_eq!(served.ask()["decision"], "hold");

    let bundle = served.data.path().join("trail.json");
    let bundle = bundle.to_str().unwrap();
    served.ok(&served.agent, &["audit", "export", "--out", bundle]);
    let folder = served.data.path().to_str().unwrap();
    let keys = served.ok(
        &served.agent,
        &["signing-key", "list", "--data-dir", folder],
    );
    let published = served.data.path().join("published.json");
    fs::write(&published, keys).unwrap();
    let published = published.to_str().unwrap();
    let verified = served.ok(
        &served.agent,
        &["audit", "verify", bundle, "--key", published],
    );
    assert!(verified.starts_with("verified: "), "{verified}");
    let report = served.ok(&served.agent, &["audit", "report", bundle, "--chain-only"]);
    let story = [
        "approval.requested",
        "alice",
        "the tests passed",
        "bob",
        "approval.granted",
        "evaluate.allow",
        "permit.verified",
        "permit.completed",
    ];
    assert_tells(&report, &story);
}

#[test]
fn a_rejection_reaches_the_agent_with_its_reason() {
    let served = Served::start(&[]);
    let [alice, ..] = &served.approvers;
    let id = served.ask()["escalation_id"].as_str().unwrap().to_owned();
    served.ok(
        alice,
        &["approvals", "reject", &id, "--note", "not on a Friday"],
    );
    let denied = served.ask();
    assert_eq!(denied["decision"], "deny", "{denied}");
    assert_eq!(denied["reason"], "rejected by `alice`: not on a Friday");
    let list = served.ok(alice, &["approvals", "list"]);
    assert_eq!(
        list,
        "nothing waits for approval: a `live` key lists what `live` keys asked for\n"
    );
    let list = served.ok(
        alice,
        &["approvals", "list", "--status", "rejected", "--json"],
    );
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["approvals"][0]["id"], id);
    for decision in ["approve", "reject", "show"] {
        let (code, _, stderr) = served.run(alice, &["approvals", decision, "esc_1"]);
        assert_eq!(code, 1);
        assert_eq!(stderr, "refused: there is no such escalation\n");
    }
    let (code, _, stderr) = served.run(alice, &["approvals", "approve", &id]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.starts_with("refused: "), "{stderr}");
    assert!(!stderr.contains("bad_request"), "{stderr}");
}

#[test]
fn an_empty_list_names_the_environment_that_was_listed() {
    let served = Served::start(&[]);
    assert_eq!(served.ask()["decision"], "hold");
    let folder = served.data.path().to_str().unwrap();
    let mut create = atlasent();
    create.args(["key", "create", "--approver", "alice", "--data-dir", folder]);
    let (code, key, stderr) = output(&mut create);
    assert_eq!(code, 0, "{stderr}");
    // A running server knows a new key at its first use.
    let list = |more: &[&str]| {
        let arguments = [&["approvals", "list"][..], more].concat();
        served.ok(key.trim(), &arguments)
    };
    let listed = "a `test` key lists what `test` keys asked for\n";
    assert_eq!(list(&[]), format!("nothing waits for approval: {listed}"));
    assert_eq!(
        list(&["--status", "approved"]),
        format!("no such decision: {listed}")
    );
}

#[test]
fn an_approval_for_an_hour_releases_the_granted_number_of_calls() {
    let served = Served::start(&[]);
    let [alice, bob, _] = &served.approvers;
    let ask = |commit: u32| {
        let body =
            json!({"action_type": "deploy", "actor_id": "bot", "context": {"commit": commit}});
        served.post("/v1-evaluate", &body)
    };
    let id = ask(0)["escalation_id"].as_str().unwrap().to_owned();
    // The policy allows no approval of several calls.
    let grant = ["approvals", "approve", &*id, "--for", "1h", "--times", "5"];
    let (code, _, stderr) = served.run(alice, &grant);
    assert_eq!(code, 2, "{stderr}");
    let policies = POLICIES.replace("@quorum", "@approval_grants(\"1h\")\n@quorum");
    fs::write(served.data.path().join("policies/deploy.cedar"), policies).unwrap();
    // A changed policy opens a new question.
    let mut id = id;
    for _ in 0..200 {
        let held = ask(0);
        let newest = held["escalation_id"].as_str().unwrap().to_owned();
        if newest != id {
            id = newest;
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let grant = ["approvals", "approve", &*id, "--for", "1h", "--times", "5"];
    served.ok(alice, &grant);
    // Without `--for`, the approval lasts as long as the policy allows.
    served.ok(bob, &["approvals", "approve", &id, "--times", "6"]);
    let mut tokens: Vec<_> = (1..=5)
        .map(|commit| ask(commit)["permit_token"].clone())
        .collect();
    assert!(tokens.iter().all(Value::is_string), "{tokens:?}");
    tokens.dedup();
    assert_eq!(tokens.len(), 5, "each use has a permit of its own");
    assert_eq!(ask(6)["decision"], "hold");
}
