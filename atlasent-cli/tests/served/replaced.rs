//! A store that is wiped, replaced or put back to an older state is refused, and said to be so.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::commands::{asking, decide, on, output};
use super::process::{KEY, Server, atlasent};

/// Why a server does not start.
fn refused(data: &Path, more: &[&str]) -> String {
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .arg("--data-dir")
        .arg(data)
        .args(more)
        .env("KEY", KEY);
    let (code, said, why) = output(&mut command);
    assert_eq!((code, &*said), (2, ""), "{why}");
    why
}

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
        let why = refused(data.path(), &[]);
        assert!(
            why.contains("missing or empty") && why.contains("--new-chain"),
            "{why}"
        );
        assert!(
            fs::metadata(&store).map_or(0, |file| file.len()) == 0,
            "a store was made"
        );
        let (code, _, why) = on(data.path(), &["audit", "export"]);
        assert_eq!(code, 2, "{why}");
    }
    // The head alone, or the signing keys alone, tell that there was one.
    fs::rename(data.path().join("head.json"), data.path().join("aside")).unwrap();
    assert!(refused(data.path(), &[]).contains("--new-chain"));
    fs::rename(data.path().join("aside"), data.path().join("head.json")).unwrap();

    served(data.path(), 1, &["--new-chain"]);
    let why = refused(data.path(), &["--new-chain"]);
    assert!(why.contains("leave the option out"), "{why}");
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
    assert_eq!(on(data.path(), &["key", "create", "--name", "first"]).0, 0);
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
    let why = refused(data.path(), &[]);
    assert!(
        why.contains("ends at event 3") && why.contains("seen event 6"),
        "{why}"
    );
    assert!(why.contains("--accept-older-store"), "{why}");
    assert!(refused(data.path(), &["--new-chain"]).contains("chain of 3 events already"));

    // Longer than what was seen, and another history: after one start it has other events in the same places.
    served(data.path(), 9, &["--accept-older-store"]);
    let head = fs::read_to_string(data.path().join("head.before-6.0.json")).unwrap();
    fs::write(data.path().join("head.json"), head).unwrap();
    let why = refused(data.path(), &[]);
    assert!(why.contains("differ at event 6"), "{why}");
    served(data.path(), 1, &["--accept-older-store"]);
    // From then on it is the one.
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
        let (code, _, why) = asking(server, &["audit", "export", "--out", &path(name)]);
        assert_eq!(code, 0, "{why}");
    };
    export(&server, "old.json");
    let (code, head, why) = asking(&server, &["audit", "head"]);
    assert_eq!(code, 0, "{why}");
    fs::write(path("head"), &head).unwrap();
    decide(&server);
    export(&server, "new.json");
    server.stop();
    let (code, at_rest, why) = on(data.path(), &["audit", "head"]);
    assert_eq!(code, 0, "{why}");
    assert!(at_rest.contains("\"sequence\":3"), "{at_rest}");
    let (_, keys, _) = on(data.path(), &["signing-key", "list"]);
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
    let (code, said, why) = verify(&[&path("new.json"), "--expect-head", &path("head")]);
    assert_eq!(code, 0, "{said}{why}");
    assert!(said.contains("contains the event of the head"), "{said}");
    assert_eq!(
        verify(&[&path("new.json"), "--after", &path("old.json")]).0,
        0
    );
    let (code, said, _) = verify(&[&path("old.json"), "--after", &path("new.json")]);
    assert!(
        code == 1 && said.contains("ends at event 2, before the head"),
        "{said}"
    );

    fs::write(
        path("forged"),
        head.replace("\"sequence\":2", "\"sequence\":1"),
    )
    .unwrap();
    let (code, _, why) = verify(&[&path("new.json"), "--expect-head", &path("forged")]);
    assert!(
        code == 1 && why.contains("signature of the head is not valid"),
        "{why}"
    );
}
