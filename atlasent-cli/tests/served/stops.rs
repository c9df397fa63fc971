//! `atlasent stop` and `atlasent resume` with a running server.

use serde_json::{Value, json};

use super::commands::{create_live_key, decide, output, run_against};
use super::process::{Server, atlasent};

fn start() -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--store", "memory"]);
    (data, server)
}

/// Returns the code of a denial, or `null` for an allow.
fn code(server: &Server) -> Value {
    decide(server)["deny_code"].clone()
}

#[test]
fn a_stop_is_set_listed_and_lifted() {
    let (_data, server) = start();
    let waiting = decide(&server)["permit_token"].clone();
    for scope in [
        &["--agent", "deploy-bot"][..],
        &["--action", "deploy.production"],
        &["--all"],
    ] {
        let stop = [&["stop", "--reason", "a drill"], scope].concat();
        let (status, stdout, error) = run_against(&server, &stop);
        assert_eq!((status, &*error), (0, ""), "{stdout}");
        let id = stdout.split_whitespace().next().unwrap();
        assert!(
            id.starts_with("stop_") && stdout.contains("  test  ") && stdout.contains("a drill"),
            "{stdout}"
        );
        assert_eq!(code(&server), "STOPPED");
        assert_eq!(run_against(&server, &["stop", "--list"]).1, stdout);

        let resume = [&["resume", "--reason", "over"], scope].concat();
        let (status, lifted, error) = run_against(&server, &resume);
        assert_eq!((status, &*error), (0, ""));
        assert_eq!(lifted, stdout);
        assert_eq!(code(&server), Value::Null);
        let (status, stdout, error) = run_against(&server, &resume);
        assert_eq!((status, &*stdout), (1, ""), "{error}");
        assert_eq!(
            run_against(&server, &["stop", "--list"]).1,
            "no stop is in effect\n"
        );
    }
    let question = json!({ "permit_token": waiting });
    let answer = server.connect().post("/v1-verify-permit", &question);
    assert_eq!(answer.unwrap().body["verify_error_code"], "STOPPED");
}

#[test]
fn a_stop_by_its_id_and_with_an_end() {
    let (_data, server) = start();
    let stop = ["stop", "--all", "--for", "2h", "--reason", "why", "--json"];
    let (status, stdout, error) = run_against(&server, &stop);
    assert_eq!(status, 0, "{error}");
    let set: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&set["all"], &set["reason"]), (&json!(true), &json!("why")));
    assert!(set["expires_at"].is_string());
    let listed = run_against(&server, &["stop", "--list", "--json"]).1;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["stops"][0]["id"], set["id"]);
    assert_eq!(listed["stops"][0]["environment"], "test");
    let id = set["id"].as_str().unwrap();
    let (status, _, error) = run_against(&server, &["resume", id, "--reason", "over"]);
    assert_eq!(status, 0, "{error}");
    assert_eq!(code(&server), Value::Null);
    let (status, stdout, error) = run_against(&server, &["resume", id, "--reason", "over"]);
    assert_eq!((status, &*stdout), (1, ""));
    assert_eq!(
        error,
        "refused: no such stop is in effect: it was lifted before, has ended, or never existed\n"
    );
}

#[test]
fn a_test_key_is_told_which_key_lifts_a_stop_of_a_live_key() {
    let data = tempfile::tempdir().unwrap();
    let live = create_live_key(data.path().to_str().unwrap(), &["--scope", "stop"]);
    let server = Server::start(data.path(), &["--store", "memory"]);
    let as_live = |arguments: &[&str]| {
        let mut command = atlasent();
        command
            .args(arguments)
            .env("ATLASENT_BASE_URL", format!("http://{}", server.address))
            .env("ATLASENT_API_KEY", &live);
        output(&mut command)
    };
    let (status, stop, error) = as_live(&["stop", "--all", "--reason", "an alarm"]);
    assert_eq!(status, 0, "{error}");
    let listed = run_against(&server, &["stop", "--list"]).1;
    assert_eq!(listed, stop);
    assert!(listed.contains("  live  "), "{listed}");

    let resume = ["resume", "--all", "--reason", "over"];
    let (status, stdout, error) = run_against(&server, &resume);
    assert_eq!((status, &*stdout), (2, ""));
    assert!(error.contains("lift it with a `live` key"), "{error}");
    assert_eq!(code(&server), "STOPPED");
    assert_eq!(as_live(&resume), (0, stop, String::new()));
    assert_eq!(code(&server), Value::Null);
}

#[test]
fn one_of_many_stops_with_long_reasons_is_lifted() {
    let (_data, server) = start();
    let mut connection = server.connect();
    // JSON writes a control character as six bytes.
    let reason = "\u{1}".repeat(4_096);
    for number in 0..60 {
        let stop = json!({"agent_id": format!("bot-{number}"), "reason": reason});
        assert_eq!(connection.post("/v1/stops", &stop).unwrap().status, 200);
    }
    let resume = ["resume", "--agent", "bot-30", "--reason", "over"];
    let (status, stdout, error) = run_against(&server, &resume);
    assert_eq!((status, &*error), (0, ""));
    assert!(stdout.contains("agent bot-30"), "{stdout}");
    let stops = connection.get("/v1/stops").unwrap().body;
    assert_eq!(stops["stops"].as_array().unwrap().len(), 59);
}

#[test]
fn contradictory_arguments_are_refused_before_a_server_is_called() {
    let (_data, server) = start();
    for arguments in [
        &["stop", "--reason", "why"][..],
        &["stop", "--all"],
        &["stop", "--all", "--reason", " "],
        &["stop", "--all", "--agent", "a", "--reason", "why"],
        &["stop", "--all", "--reason", "why", "--for", "soon"],
        &["stop", "--list", "--all"],
        &["resume", "--reason", "over"],
        &["resume", "--all"],
        &["resume", "stop_1", "--all", "--reason", "over"],
    ] {
        let (status, stdout, error) = run_against(&server, arguments);
        assert_eq!((status, &*stdout), (2, ""), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
    }
    assert_eq!(code(&server), Value::Null);
}
