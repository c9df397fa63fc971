//! A held call from the question to the result, as its users do it: with commands, in two
//! terminals.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use atlasent_tests::issuer::Issuer;
use serde_json::{Value, json};

use super::commands::{assert_tells, output};
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
        let agent = created(folder, &["--name", "agent"]);
        let people = [
            ("alice", "release-manager"),
            ("bob", "release-manager"),
            ("ian", "intern"),
        ];
        let approvers =
            people.map(|(name, role)| created(folder, &["--approver", name, "--role", role]));
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

/// Creates an API key, and returns it.
pub(crate) fn created(folder: &str, options: &[&str]) -> String {
    let mut command = atlasent();
    command
        .args([
            "key",
            "create",
            "--environment",
            "live",
            "--data-dir",
            folder,
        ])
        .args(options);
    let (code, stdout, stderr) = output(&mut command);
    assert_eq!(code, 0, "{stderr}");
    stdout.trim().to_owned()
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
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("role:release-manager"), "{stderr}");
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
fn a_rejection_reaches_the_agent_and_its_reason_too() {
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
    let (code, _, stderr) = served.run(alice, &["approvals", "approve", "esc_1"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("no such escalation"), "{stderr}");
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
    // A running server reads new keys within a second.
    let list = |more: &[&str]| {
        let arguments = [&["approvals", "list"][..], more].concat();
        (0..20).find_map(|_| {
            let (code, list, _) = served.run(key.trim(), &arguments);
            if code != 0 {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            (code == 0).then_some(list)
        })
    };
    let listed = "a `test` key lists what `test` keys asked for\n";
    assert_eq!(
        list(&[]).unwrap(),
        format!("nothing waits for approval: {listed}")
    );
    assert_eq!(
        list(&["--status", "approved"]).unwrap(),
        format!("no such decision: {listed}")
    );
}

#[test]
fn an_approval_for_a_while_releases_so_many_calls_and_no_more() {
    let served = Served::start(&[]);
    let [alice, bob, _] = &served.approvers;
    let ask = |commit: u32| {
        let body =
            json!({"action_type": "deploy", "actor_id": "bot", "context": {"commit": commit}});
        served.post("/v1-evaluate", &body)
    };
    let id = ask(0)["escalation_id"].as_str().unwrap().to_owned();
    // The policy does not allow it.
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
    // Without a time, it is the longest that the policy allows.
    served.ok(bob, &["approvals", "approve", &id, "--times", "6"]);
    let mut tokens: Vec<_> = (1..=5)
        .map(|commit| ask(commit)["permit_token"].clone())
        .collect();
    assert!(tokens.iter().all(Value::is_string), "{tokens:?}");
    tokens.dedup();
    assert_eq!(tokens.len(), 5, "each use has a permit of its own");
    assert_eq!(ask(6)["decision"], "hold");
}

#[test]
fn a_watcher_sees_what_waits_and_each_change() {
    let served = Served::start(&[]);
    let [alice, bob, _] = &served.approvers;
    let id = served.ask()["escalation_id"].as_str().unwrap().to_owned();
    let mut command = served.command(alice, &["approvals", "watch", "--json"]);
    let mut watcher = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut changes = lines.map(|line| {
        let change: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let approved = change["quorum_progress"]["approved"].as_u64().unwrap();
        (change["id"].clone(), change["status"].clone(), approved)
    });
    let waits = |status: &str, approved| (json!(id), json!(status), approved);
    assert_eq!(
        changes.next(),
        Some(waits("pending", 0)),
        "what waited before"
    );
    served.ok(alice, &["approvals", "approve", &id]);
    assert_eq!(changes.next(), Some(waits("pending", 1)));
    served.ok(bob, &["approvals", "approve", &id]);
    assert_eq!(changes.next(), Some(waits("approved", 2)));
    let other = json!({"action_type": "deploy", "actor_id": "other-bot"});
    let opened = served.post("/v1-evaluate", &other);
    let opened = (opened["escalation_id"].clone(), json!("pending"), 0);
    assert_eq!(changes.next(), Some(opened));
    // It ends when its reader has gone, or when it is interrupted.
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}

#[test]
fn a_watcher_outlives_a_restart_of_its_server() {
    let served = Served::start(&[]);
    let first = served.ask()["escalation_id"].clone();
    let alice = served.approvers[0].clone();
    let mut command = served.command(&alice, &["approvals", "watch", "--json"]);
    let mut watcher = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut ids = lines.map(|line| {
        let change: Value = serde_json::from_str(&line.unwrap()).unwrap();
        change["id"].clone()
    });
    assert_eq!(ids.next().as_ref(), Some(&first));

    let Served {
        server,
        data,
        agent,
        approvers,
    } = served;
    let address = server.address.to_string();
    assert!(server.stop().0.success());
    let mut warnings = BufReader::new(watcher.stderr.take().unwrap()).lines();
    let warning = warnings.next().unwrap().unwrap();
    assert!(
        warning.contains(&address) && warning.contains("the next try is in 2 seconds"),
        "{warning}"
    );
    let mut command = atlasent();
    command.args(["serve", "--listen", &address, "--data-dir"]);
    command.arg(data.path());
    let server = Server::run(command);
    let served = Served {
        server,
        data,
        agent,
        approvers,
    };
    let other = json!({"action_type": "deploy", "actor_id": "other-bot"});
    let opened = served.post("/v1-evaluate", &other)["escalation_id"].clone();
    assert_eq!(
        ids.next(),
        Some(opened),
        "what was printed is not printed again"
    );
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}

/// A server that accepts the tokens of an issuer, and the issuer.
async fn with_issuer() -> (Issuer, Served, tempfile::TempDir) {
    let issuer = Issuer::start("127.0.0.1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oidc.toml");
    let settings = format!("issuer = \"{}\"\naudience = \"atlasent\"\n", issuer.url());
    fs::write(&file, settings).unwrap();
    let served = Served::start(&["--oidc", file.to_str().unwrap()]);
    (issuer, served, folder)
}

/// Runs a command with a token in the environment. The API key is that of the agent, who decides
/// nothing.
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
        // As the tools of issuers print it.
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
async fn a_token_that_is_not_good_decides_nothing_and_is_not_printed() {
    let (issuer, served, _folder) = with_issuer().await;
    let id = served.ask()["escalation_id"].as_str().unwrap().to_owned();
    let intern = issuer.bearer_token("ian", &json!({"roles": ["intern"]}));
    let expired = issuer.bearer_token("carol", &json!({"exp": 1}));
    for (token, reason) in [
        (&*intern, "it takes role:release-manager"),
        (&*expired, "the token has expired"),
        ("e30.e30.hunter2", "the token is malformed"),
        ("hunter2 hunter2", "the bearer token is invalid"),
        ("ask_live_hunter2", "the bearer token is an API key"),
        ("", "the bearer token is invalid"),
    ] {
        let (code, stdout, stderr) = run_with_token(&served, token, &["approvals", "approve", &id]);
        assert_eq!((code, &*stdout), (2, ""), "{stderr}");
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

#[test]
fn settings_of_approvers_that_cannot_be_read_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings");
    fs::write(&file, "{]").unwrap();
    let (data, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
    for option in ["--oidc", "--approval-issuers", "--webhooks"] {
        let mut command = atlasent();
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data,
            option,
            file,
        ]);
        let (code, stdout, stderr) = output(&mut command);
        assert_eq!((code, &*stdout), (2, ""), "{option}");
        assert!(
            stderr.contains(option) && stderr.contains(file),
            "{option}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_login_with_an_issuer_is_for_the_console() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oidc.toml");
    let text = "issuer = \"https://login.example\"\naudience = \"x\"\n\
         [login]\nclient_id = \"c\"\nconsole_url = \"https://console.example\"\n";
    fs::write(&file, text).unwrap();
    let mut command = atlasent();
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "memory",
            "--data-dir",
        ])
        .arg(folder.path())
        .arg("--oidc")
        .arg(&file);
    let (code, stdout, stderr) = output(&mut command);
    assert_eq!((code, &*stdout), (2, ""), "{stderr}");
    assert!(stderr.contains("add `--console`"), "{stderr}");
}
