//! Commands that run beside a server: `key`, `signing-key`, and `audit` export, verify and tail.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use atlasent_authority::signing::KeyRing;
use serde_json::{Value, json};

use super::http::Connection;
use super::process::{KEY, Server, atlasent};

/// Runs a command. Returns its exit code, standard output and standard error.
pub(crate) fn output(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Runs a command on a data directory. Returns its exit code, standard output and standard error.
pub(crate) fn run_in_data_dir(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    output(atlasent().args(arguments).arg("--data-dir").arg(data))
}

/// Creates an API key of the `live` environment, and returns it.
pub(crate) fn create_live_key(folder: &str, options: &[&str]) -> String {
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

/// Runs a command that calls the server. Returns exit code, standard output and standard error.
pub(crate) fn run_against(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", server.address);
    let mut command = atlasent();
    command
        .args(arguments)
        .env("ATLASENT_BASE_URL", url)
        .env("ATLASENT_API_KEY", KEY);
    output(&mut command)
}

pub(crate) fn decide(server: &Server) -> Value {
    let request = json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    });
    server
        .connect()
        .post("/v1-evaluate", &request)
        .unwrap()
        .body
}

#[test]
fn a_key_is_made_used_listed_and_taken_back_while_the_server_runs() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--store", "memory"]);
    let (code, key, stderr) = run_in_data_dir(
        data.path(),
        &[
            "key",
            "create",
            "--name",
            "reader",
            "--scope",
            "audit.read",
            "--rate",
            "1000",
            "--ttl",
            "3600",
        ],
    );
    assert_eq!(code, 0, "{stderr}");
    let key = key.trim();
    let id = stderr
        .trim()
        .rsplit_once(' ')
        .unwrap()
        .1
        .trim_end_matches('`');

    let asks = |path: &str| {
        Connection::open(server.address, key)
            .unwrap()
            .get(path)
            .unwrap()
    };
    let until = |status: u16| {
        (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            asks("/v1-audit/events").status == status
        })
    };
    assert!(until(200), "the new key is not accepted");
    let own = asks("/v1-api-key-self").body;
    assert_eq!(own["key_id"], id);
    assert_eq!(own["scopes"], json!(["audit.read"]));
    assert_eq!(own["rate_limit_per_minute"], 1000);
    let refused = Connection::open(server.address, key)
        .unwrap()
        .post("/v1-audit/exports", &json!({}));
    assert_eq!(refused.unwrap().status, 403);

    let (_, list, _) = run_in_data_dir(data.path(), &["key", "list"]);
    assert!(list.contains(id) && list.contains("reader") && !list.contains(key));
    let (_, list, _) = run_in_data_dir(data.path(), &["key", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list[0]["key_id"], &list[0]["state"]),
        (&json!(id), &json!("good"))
    );
    assert!(list[0].get("digest").is_none());

    assert_eq!(run_in_data_dir(data.path(), &["key", "revoke", id]).0, 0);
    assert!(until(401), "a revoked key is still accepted");
    let (code, _, stderr) = run_in_data_dir(data.path(), &["key", "revoke", id]);
    assert_eq!(code, 2, "{stderr}");
    let (_, _, stderr) = run_in_data_dir(data.path(), &["key", "revoke", key]);
    assert!(!stderr.contains(key), "{stderr}");
}

#[test]
fn the_key_of_an_approver_votes_and_reads_and_does_not_evaluate() {
    let data = tempfile::tempdir().unwrap();
    let create = |arguments: &[&str]| {
        let (code, _, stderr) =
            run_in_data_dir(data.path(), &[&["key", "create"], arguments].concat());
        (code, stderr)
    };
    let alice = [
        "--approver",
        "alice",
        "--role",
        "cto",
        "--role",
        "release-manager",
    ];
    assert_eq!(create(&alice).0, 0);
    assert_eq!(create(&["--approver", "bob", "--scope", "evaluate"]).0, 0);
    for (wrong, advice) in [
        (&["--role", "cto"][..], "--approver"),
        (&["--scope", "approve"], "`--approver NAME`"),
        (&["--approver", ""], "the principal is empty"),
        (&["--approver", "a,b"], "has a comma"),
        (&["--approver", "a", "--role", "b\n"], "a control character"),
    ] {
        let (code, stderr) = create(wrong);
        assert_eq!(code, 2, "{wrong:?}");
        assert!(stderr.contains(advice), "{wrong:?}: {stderr}");
    }

    let (_, list, _) = run_in_data_dir(data.path(), &["key", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        list[0]["approver"],
        json!({"principal": "alice", "roles": ["cto", "release-manager"]})
    );
    assert_eq!(
        list[0]["scopes"],
        json!(["approve", "permits.read", "audit.read"])
    );
    assert_eq!(list[1]["scopes"], json!(["evaluate", "approve"]));
    let (_, list, _) = run_in_data_dir(data.path(), &["key", "list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[0].ends_with("  -  approver alice (cto, release-manager)"),
        "{list}"
    );
    assert!(lines[1].ends_with("  -  approver bob"), "{list}");
}

#[test]
fn an_export_verifies_offline_and_a_changed_one_does_not() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    decide(&server);
    let bundle = data.path().join("bundle.json");
    let bundle = bundle.to_str().unwrap();
    let (code, _, stderr) = run_against(&server, &["audit", "export", "--out", bundle]);
    assert_eq!(code, 0, "{stderr}");
    let (_, keys, _) = run_in_data_dir(data.path(), &["signing-key", "list"]);
    let key_file = data.path().join("keys-published.json");
    std::fs::write(&key_file, &keys).unwrap();
    let keys = key_file.to_str().unwrap();

    let verify = |bundle: &str, more: &[&str]| {
        let mut command = atlasent();
        output(
            command
                .args(["audit", "verify", bundle, "--key", keys])
                .args(more),
        )
    };
    let (code, stdout, _) = verify(bundle, &[]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.starts_with("verified: "), "{stdout}");
    assert!(
        stdout.contains("  events:    2, from ") && stdout.contains("by the key `sig_"),
        "{stdout}"
    );

    let text = std::fs::read_to_string(bundle).unwrap();
    let changed = data.path().join("changed.json");
    std::fs::write(&changed, text.replace("deploy-bot", "deploy-bat")).unwrap();
    let (code, report, _) = verify(changed.to_str().unwrap(), &["--json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["verified"], &report["signature_valid"]),
        (&json!(false), &json!(false))
    );

    // Exports of a retired key still verify, and the store of a stopped server is read directly.
    server.stop();
    assert_eq!(
        run_in_data_dir(data.path(), &["signing-key", "rotate"]).0,
        0
    );
    let (_, published, _) = run_in_data_dir(data.path(), &["signing-key", "list"]);
    std::fs::write(&key_file, published).unwrap();
    assert_eq!(verify(bundle, &[]).0, 0);
    let second = data.path().join("second.json");
    let second = second.to_str().unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(bundle, second).unwrap();
    let before = std::fs::read(bundle).unwrap();
    assert_eq!(
        run_in_data_dir(data.path(), &["audit", "export", "--out", second]).0,
        0
    );
    assert_eq!(
        std::fs::read(bundle).unwrap(),
        before,
        "no link is followed"
    );
    let (code, _, stderr) =
        run_in_data_dir(data.path(), &["audit", "export", "--out", "/dev/null"]);
    assert!(
        code == 2 && stderr.contains("it is no regular file"),
        "{stderr}"
    );
    let (code, stdout, _) = verify(second, &[]);
    assert_eq!(code, 0, "{stdout}");
    assert_ne!(stdout, verify(bundle, &[]).1, "another key has signed");

    let (code, stdout, _) = output(atlasent().args(["audit", "verify", bundle]));
    assert!(code == 1 && stdout.contains("--key"), "{stdout}");
    let (code, _, stderr) = verify("/nowhere", &[]);
    assert!(code == 2 && stderr.contains("/nowhere"), "{stderr}");
}

#[test]
fn an_export_of_a_stopped_server_is_signed_with_its_key_and_no_key_is_created() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    KeyRing::open(elsewhere.path()).unwrap();
    let key_file = elsewhere.path().join("signing-key.pem");
    let with_key = ["--signing-key", key_file.to_str().unwrap()];
    let server = Server::start(data.path(), &with_key);
    decide(&server);
    server.stop();
    let signing = data.path().join("signing");
    let published = std::fs::read(signing.join("public-keys.json")).unwrap();

    let (code, keys, stderr) = run_in_data_dir(
        data.path(),
        &[&["signing-key", "list"], &with_key[..]].concat(),
    );
    assert_eq!(code, 0, "{stderr}");
    let key_list = elsewhere.path().join("keys.json");
    std::fs::write(&key_list, keys).unwrap();
    let (bundle, head) = (
        elsewhere.path().join("bundle.json"),
        elsewhere.path().join("head.json"),
    );
    for (command, file) in [("export", &bundle), ("head", &head)] {
        let (code, stdout, stderr) = run_in_data_dir(data.path(), &["audit", command]);
        assert_eq!((code, &*stdout), (2, ""), "{command}");
        assert!(stderr.contains("--signing-key"), "{command}: {stderr}");
        let arguments = [&["audit", command], &with_key[..]].concat();
        let (code, stdout, stderr) = run_in_data_dir(data.path(), &arguments);
        assert_eq!(code, 0, "{command}: {stderr}");
        std::fs::write(file, stdout).unwrap();
    }
    let mut verify = atlasent();
    verify.args(["audit", "verify"]).arg(&bundle);
    verify.arg("--key").arg(&key_list);
    let (code, stdout, stderr) = output(verify.arg("--expect-head").arg(&head));
    assert_eq!(code, 0, "{stdout}{stderr}");

    let (code, _, stderr) = output(atlasent().args(["audit", "head"]).args(with_key));
    assert!(code == 2 && stderr.contains("--data-dir"), "{stderr}");
    assert!(!signing.join("signing-key.pem").exists());
    let after = std::fs::read(signing.join("public-keys.json")).unwrap();
    assert_eq!(after, published, "a command that reads has written");
}

#[test]
fn a_trail_is_watched() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    decide(&server);
    let (code, lines, stderr) = run_against(&server, &["audit", "tail"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.contains("evaluate.allow") && lines.contains("deploy-bot"));
    let (_, lines, _) = run_against(
        &server,
        &["audit", "tail", "--json", "--type", "evaluate.allow"],
    );
    let event: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(event["sequence"], 2);
    let (code, _, stderr) = output(
        atlasent()
            .args(["audit", "tail"])
            .env("ATLASENT_API_KEY", "nonsense"),
    );
    assert!(code == 2 && !stderr.is_empty());
}

#[test]
fn a_trail_with_large_contexts_is_watched() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--record-context"]);
    let mut connection = server.connect();
    for _ in 0..3 {
        let request = json!({
            "action_type": "deploy.production", "actor_id": "deploy-bot",
            "context": {"text": "x".repeat(900_000)},
        });
        let answer = connection.post("/v1-evaluate", &request).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let (code, lines, stderr) = run_against(&server, &["audit", "tail"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(lines.lines().count(), 4);
}

/// Asserts that a report contains these texts, in this order.
pub(crate) fn assert_tells(report: &str, story: &[&str]) {
    let mut rest = report;
    for step in story {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("{step} is missing: {report}"));
        rest = rest.get(at..).unwrap();
    }
}

#[test]
fn a_follower_of_the_trail_outlives_a_restart_and_ends_when_its_key_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    decide(&server);
    let address = server.address.to_string();
    let mut command = atlasent();
    command
        .args(["audit", "tail", "--follow", "--json"])
        .env("ATLASENT_BASE_URL", format!("http://{address}"))
        .env("ATLASENT_API_KEY", KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut numbers = lines.map(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        event["sequence"].as_u64().unwrap()
    });
    let mut warnings = BufReader::new(follower.stderr.take().unwrap()).lines();
    assert_eq!((numbers.next(), numbers.next()), (Some(1), Some(2)));

    assert!(server.stop().0.success());
    let warning = warnings.next().unwrap().unwrap();
    assert!(
        warning.starts_with("warning: ") && warning.contains(&address),
        "{warning}"
    );
    let serve = |key: &str| {
        let mut command = atlasent();
        command.args(["serve", "--listen", &address, "--api-key-env", "KEY"]);
        command.arg("--data-dir").arg(data.path()).env("KEY", key);
        Server::run(command)
    };
    let server = serve(KEY);
    decide(&server);
    assert_eq!(numbers.next(), Some(3), "no event is repeated or left out");

    server.stop();
    let _server = serve(&KEY.replace('z', "y"));
    assert_eq!(follower.wait().unwrap().code(), Some(2));
    let last = warnings.map(Result::unwrap).last().unwrap();
    assert!(last.starts_with("error: "), "{last}");
}
