//! The start of a server: the first one, failing ones, policy reloads, and the end.

use std::fs;

use serde_json::json;

use super::commands::output;
use super::http::Connection;
use super::process::{KEY, Server, atlasent};

fn deploy(replicas: u32) -> serde_json::Value {
    json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": replicas }
    })
}

#[test]
fn it_serves_the_quickstarts_policies_without_any_set_up() {
    let home = tempfile::tempdir().unwrap();
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("HOME", home.path());
    let server = Server::run(command);
    let address = server.address;
    let (status, stdout) = {
        // The rest of the startup message follows the address.
        std::thread::sleep(std::time::Duration::from_millis(200));
        server.stop()
    };
    assert!(status.success());
    let key = stdout
        .split_whitespace()
        .find(|word| word.starts_with("ask_test_"))
        .unwrap();
    assert!(
        stdout.contains("README.md") && stdout.contains("shown once"),
        "{stdout}"
    );

    // The second start prints no key, and accepts the first one.
    let mut command = atlasent();
    command
        .args(["serve", "--listen", &address.to_string()])
        .env("HOME", home.path());
    let server = Server::run(command);
    let mut connection = Connection::open(server.address, key).unwrap();
    let allowed = connection.post("/v1-evaluate", &deploy(3)).unwrap();
    assert_eq!(
        (allowed.status, &allowed.body["decision"]),
        (200, &json!("allow"))
    );
    let held = connection.post("/v1-evaluate", &deploy(500)).unwrap();
    assert_eq!(held.body["decision"], "hold");
    let (_, stdout) = server.stop();
    assert!(!stdout.contains("ask_test_"), "{stdout}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_files_of_a_server() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    Server::start(&data, &[]).stop();
    for name in [
        "",
        "authority.redb",
        "signing",
        "signing/signing-key.pem",
        "policies",
    ] {
        let mode = fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[test]
fn a_request_that_is_under_way_is_answered_before_the_end() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--store", "memory"]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/readyz").unwrap().status, 200);
    let run_against = std::thread::spawn(move || {
        (0..200)
            .map_while(|_| connection.post("/v1-evaluate", &deploy(3)).ok())
            .count()
    });
    let (status, _) = server.stop();
    assert!(status.success());
    run_against.join().unwrap();
}

#[test]
fn a_hangup_right_after_the_start_does_not_end_the_server() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let server = Server::start(data.path(), &["--log-level", "error"]);
        server.signal("HUP");
        assert_eq!(server.connect().get("/healthz").unwrap().status, 200);
    }
}

#[test]
fn policies_are_read_again_and_a_broken_set_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--log-level", "error"]);
    let mut connection = server.connect();
    let broken = data.path().join("policies/broken.cedar");
    fs::write(&broken, "permit (").unwrap();
    server.signal("HUP");
    let event = wait_for(&mut connection, "policy.error");
    assert!(
        event["payload"]["problems"][0]
            .as_str()
            .unwrap()
            .starts_with("broken.cedar:1:")
    );
    assert_eq!(
        connection.post("/v1-evaluate", &deploy(3)).unwrap().body["decision"],
        "allow"
    );

    let freeze =
        r#"@id("freeze") forbid (principal, action == Action::"deploy.production", resource);"#;
    fs::write(&broken, freeze).unwrap();
    server.signal("HUP");
    let event = wait_for(&mut connection, "policy.loaded");
    assert!(event["payload"]["policies"].to_string().contains("freeze"));
    let decided = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        connection.post("/v1-evaluate", &deploy(3)).unwrap().body["decision"] == "deny"
    });
    assert!(decided, "the new policies do not decide");
}

/// Waits for an event of a type that was not recorded at the start, and returns the newest one.
fn wait_for(server: &mut Connection, kind: &str) -> serde_json::Value {
    let known = usize::from(kind == "policy.loaded");
    for _ in 0..300 {
        let page = server
            .get(&format!("/v1-audit/events?types={kind}"))
            .unwrap();
        let events = page.body["events"].as_array().unwrap();
        if events.len() > known {
            return events[events.len() - 1].clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("no {kind}");
}

#[test]
fn a_failed_start_says_why() {
    let data = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], key: Option<&str>| {
        let mut command = atlasent();
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(data.path())
            .args(arguments);
        if let Some(key) = key {
            command.env("KEY", key);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let with_key = ["--api-key-env", "KEY"];
    assert!(run(&with_key, None).contains("`KEY` is not set"));
    let stderr = run(&with_key, Some("hunter2-hunter2"));
    assert!(
        stderr.contains("`--api-key-env`: `KEY`: the text is not an API key: ")
            && !stderr.contains("hunter2"),
        "{stderr}"
    );
    let stderr = run(&with_key, Some("ask_live_hunter2"));
    assert!(
        stderr.contains("could be guessed") && stderr.contains("openssl rand -hex 32"),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert!(run(&["--store", "paper"], None).contains("use `memory`, `redb`"));
    assert!(run(&["--policies", "/nowhere"], None).contains("/nowhere"));
    assert!(run(&["--permit-ttl", "0"], None).contains("--permit-ttl"));
    assert!(run(&["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], None).contains("TLS"));
    assert!(run(&["--listen", "nowhere"], None).contains("--listen"));
    assert!(run(&["--signing-key", "/nowhere"], None).contains("/nowhere"));

    let holder = Server::start(data.path(), &[]);
    assert!(run(&with_key, Some(KEY)).contains("another process has it open"));
    let taken = holder.address.to_string();
    let other = tempfile::tempdir().unwrap();
    let output = atlasent()
        .args([
            "serve",
            "--listen",
            &taken,
            "--store",
            "memory",
            "--data-dir",
        ])
        .arg(other.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot listen on"), "{stderr}");
}

#[test]
fn a_start_that_fails_leaves_no_key_and_the_next_one_shows_it() {
    let data = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = |listen: &str| {
        let mut command = atlasent();
        command.args(["serve", "--store", "memory", "--listen", listen]);
        command.arg("--data-dir").arg(data.path());
        command
    };
    let failed = start(&address).output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
    assert!(failed.stdout.is_empty());
    assert!(!data.path().join("keys.json").exists());

    // With standard output closed, the key cannot be printed.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = start("127.0.0.1:0");
    let failed = command.stdout(writer).output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
    assert!(!data.path().join("keys.json").exists());

    let port = address.rsplit(':').next().unwrap().to_owned();
    drop(taken);
    let server = Server::run(start(&format!("localhost:{port}")));
    assert_eq!(server.address.to_string(), address);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let address = server.address;
    let key = fs::read_to_string(data.path().join("keys.json")).unwrap();
    assert!(
        key.contains("created by `atlasent serve` at its first start"),
        "{key}"
    );
    assert!(Connection::open(address, "ask_test_x").is_ok());
    let (status, stdout) = server.stop();
    assert!(status.success() && stdout.contains("ask_test_"), "{stdout}");
}

#[test]
fn the_console_is_served_where_it_is_asked_for_and_its_address_is_printed() {
    for is_wanted in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let options: &[&str] = if is_wanted { &["--console"] } else { &[] };
        let server = Server::start(data.path(), options);
        let mut connection = server.connect();
        let login = connection.get("/console/login").unwrap();
        assert_eq!(login.status, if is_wanted { 200 } else { 404 });
        let address = server.address;
        drop(connection);
        let (_, stdout) = server.stop();
        let line = format!("console   http://{address}/console");
        assert_eq!(stdout.contains(&line), is_wanted, "{stdout}");
    }
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
