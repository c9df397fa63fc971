//! A wiped, replaced or older store is refused at the start, with an error that says so.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::commands::{decide, output, run_against, run_in_data_dir};
use super::process::{KEY, Server, atlasent};

/// Starts a server that must fail with exit code 2, and returns its standard error.
pub(crate) fn refused(data: &Path, more: &[&str]) -> String {
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .arg("--data-dir")
        .arg(data)
        .args(more)
        .env("KEY", KEY);
    let (code, stdout, stderr) = output(&mut command);
    assert_eq!((code, &*stdout), (2, ""), "{stderr}");
    stderr
}

/// Starts a server, lets it decide this many times, and stops it.
fn served(data: &Path, decisions: usize, more: &[&str]) {
    let server = Server::start(data, more);
    for _ in 0..decisions {
        decide(&server);
    }
    assert!(server.stop().0.success());
}

#[test]
fn a_wiped_store_is_refused_until_a_new_chain_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let store = data.path().join("authority.redb");
    served(data.path(), 3, &[]);
    for wipe in [
        |path: &Path| fs::remove_file(path),
        |path: &Path| fs::write(path, ""),
    ] {
        wipe(&store).unwrap();
        let stderr = refused(data.path(), &[]);
        assert!(
            stderr.contains("missing or empty") && stderr.contains("--new-chain"),
            "{stderr}"
        );
        assert!(
            fs::metadata(&store).map_or(0, |file| file.len()) == 0,
            "a store was created"
        );
        let (code, _, stderr) = run_in_data_dir(data.path(), &["audit", "export"]);
        assert_eq!(code, 2, "{stderr}");
    }
    // The signing keys are enough to detect that there was a store, also without the head file.
    fs::rename(data.path().join("head.json"), data.path().join("aside")).unwrap();
    assert!(refused(data.path(), &[]).contains("--new-chain"));
    fs::rename(data.path().join("aside"), data.path().join("head.json")).unwrap();

    served(data.path(), 1, &["--new-chain"]);
    let stderr = refused(data.path(), &["--new-chain"]);
    assert!(
        stderr.contains("the store already has a chain of ") && stderr.contains("omit the option"),
        "{stderr}"
    );
    served(data.path(), 1, &[]);
    let kept = fs::read_dir(data.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("head.before-4")
    });
    assert_eq!(kept.count(), 1, "the former head is kept");
}

#[test]
fn a_key_that_is_made_before_the_first_start_is_no_sign_of_a_wiped_store() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(
        run_in_data_dir(data.path(), &["key", "create", "--name", "first"]).0,
        0
    );
    served(data.path(), 1, &[]);
}

#[test]
fn an_older_store_is_refused_until_it_is_accepted() {
    let data = tempfile::tempdir().unwrap();
    let (store, backup) = (
        data.path().join("authority.redb"),
        data.path().join("backup"),
    );
    served(data.path(), 2, &[]);
    fs::copy(&store, &backup).unwrap();
    served(data.path(), 2, &[]);

    fs::copy(&backup, &store).unwrap();
    let stderr = refused(data.path(), &[]);
    assert!(
        stderr.contains("ends at event 3") && stderr.contains("head.json` records event 6"),
        "{stderr}"
    );
    assert!(stderr.contains("--accept-older-store"), "{stderr}");
    assert!(
        refused(data.path(), &["--new-chain"])
            .contains("already has a chain of 3 events: omit the option")
    );

    // A store with more events than the last known head, but other events at the same sequence
    // numbers, is refused too.
    served(data.path(), 9, &["--accept-older-store"]);
    let head = fs::read_to_string(data.path().join("head.before-6.0.json")).unwrap();
    fs::write(data.path().join("head.json"), head).unwrap();
    let stderr = refused(data.path(), &[]);
    assert!(stderr.contains("differ at event 6"), "{stderr}");
    served(data.path(), 1, &["--accept-older-store"]);
    // After it was accepted, it needs no option.
    served(data.path(), 1, &[]);
}

#[test]
fn a_killed_server_whose_store_is_ahead_of_the_head_starts_again() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    for _ in 0..5 {
        decide(&server);
    }
    server.kill();
    served(data.path(), 1, &[]);
}

#[test]
fn a_store_that_is_moved_away_while_it_is_served_stops_decisions() {
    let data = tempfile::tempdir().unwrap();
    let (store, aside) = (
        data.path().join("authority.redb"),
        data.path().join("aside"),
    );
    let server = Server::start(data.path(), &[]);
    let ask = |server: &Server| {
        let request = json!({ "action_type": "deploy.production", "actor_id": "deploy-bot" });
        server
            .connect()
            .post("/v1-evaluate", &request)
            .unwrap()
            .status
    };
    let ready = |server: &Server| server.connect().get("/readyz").unwrap().status;
    assert_eq!((ask(&server), ready(&server)), (200, 200));
    fs::rename(&store, &aside).unwrap();
    assert_eq!((ask(&server), ready(&server)), (503, 503));
    assert!(!store.exists());
    fs::rename(&aside, &store).unwrap();
    assert_eq!((ask(&server), ready(&server)), (200, 200));
}

#[test]
fn a_signed_head_tells_a_continued_trail_from_another() {
    let data = tempfile::tempdir().unwrap();
    let path = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    let server = Server::start(data.path(), &[]);
    decide(&server);
    let export = |server: &Server, name: &str| {
        let (code, _, stderr) = run_against(server, &["audit", "export", "--out", &path(name)]);
        assert_eq!(code, 0, "{stderr}");
    };
    export(&server, "old.json");
    let (code, head, stderr) = run_against(&server, &["audit", "head"]);
    assert_eq!(code, 0, "{stderr}");
    fs::write(path("head"), &head).unwrap();
    decide(&server);
    export(&server, "new.json");
    server.stop();
    let (code, at_rest, stderr) = run_in_data_dir(data.path(), &["audit", "head"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(at_rest.contains("\"sequence\":3"), "{at_rest}");
    let (_, keys, _) = run_in_data_dir(data.path(), &["signing-key", "list"]);
    fs::write(path("keys"), keys).unwrap();

    let verify = |arguments: &[&str]| {
        let keys = path("keys");
        output(
            atlasent()
                .args(["audit", "verify"])
                .args(arguments)
                .args(["--key", &keys]),
        )
    };
    let (code, stdout, stderr) = verify(&[&path("new.json"), "--expect-head", &path("head")]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stdout.contains("contains the event of the head"),
        "{stdout}"
    );
    assert_eq!(
        verify(&[&path("new.json"), "--after", &path("old.json")]).0,
        0
    );
    let (code, stdout, _) = verify(&[&path("old.json"), "--after", &path("new.json")]);
    assert!(
        code == 1 && stdout.contains("ends at event 2, before the head"),
        "{stdout}"
    );

    fs::write(
        path("forged"),
        head.replace("\"sequence\":2", "\"sequence\":1"),
    )
    .unwrap();
    let (code, _, stderr) = verify(&[&path("new.json"), "--expect-head", &path("forged")]);
    assert!(
        code == 1 && stderr.contains("signature of the head is not valid"),
        "{stderr}"
    );
}
