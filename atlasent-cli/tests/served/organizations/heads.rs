//! The saved heads of the organizations' chains: a store that is older than one of them, or has
//! another chain, is found.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use atlasent_authority::keys::{ApiScope, KeyFile};
use serde_json::Value;

use super::support::*;
use crate::commands::{output, run_in_data_dir};
use crate::process::{KEY, Server, atlasent};
use crate::replaced::refused;

/// Starts a server whose log can be read when it stops.
fn start(data: &Path, more: &[&str]) -> Server {
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .arg("--data-dir")
        .arg(data)
        .args(more)
        .env("KEY", KEY)
        .stderr(Stdio::piped());
    Server::run(command)
}

/// Returns the sequence number of the head of an organization's chain.
fn head(data: &Path, org: &str) -> u64 {
    let (code, stdout, stderr) = run_in_data_dir(data, &["audit", "head", "--org", org]);
    assert_eq!(code, 0, "{stderr}");
    let head: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(head["org_id"], org);
    head["sequence"].as_u64().unwrap()
}

/// Replaces the store by a copy that lacks the last events of `acme`. The chain of `local` is the
/// same in both.
fn restore_older_store(data: &Path, acme: &str) {
    let (mut key, secret) = new_key("local");
    key.scopes = ApiScope::ALL.to_vec();
    KeyFile::new(data.join("keys.json")).add(key).unwrap();
    let server = start(data, &[]);
    token(&server, acme);
    // The server records the new key on the chain of `local`, which must be in the copy.
    wait(|| {
        let page = connect(&server, KEY).get("/v1-audit/events?types=key.created");
        (page.unwrap().body["total"].as_u64()? > 0).then_some(())
    });
    let backup = data.join("backup.redb");
    let (code, _, stderr) = output(
        atlasent()
            .args(["store", "backup"])
            .arg(&backup)
            .env("ATLASENT_BASE_URL", format!("http://{}", server.address))
            .env("ATLASENT_API_KEY", secret),
    );
    assert_eq!(code, 0, "{stderr}");
    for _ in 0..3 {
        token(&server, acme);
    }
    assert!(server.stop().0.success());
    fs::rename(backup, data.join("authority.redb")).unwrap();
}

#[test]
fn an_older_store_is_found_by_the_head_of_the_organization_that_used_it() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    restore_older_store(data, &acme);
    let older = head(data, "acme");

    let server = start(data, &[]);
    assert_problem(&evaluate(&server, &acme), 503, "STORE_UNAVAILABLE");
    assert_problem(&verify(&server, &acme, "pt_0"), 503, "STORE_UNAVAILABLE");
    let stops = connect(&server, &acme).get("/v1/stops").unwrap();
    assert_problem(&stops, 503, "STORE_UNAVAILABLE");
    assert_eq!(evaluate(&server, &globex).status, 200);
    assert_eq!(evaluate(&server, KEY).status, 200);
    // Nothing is added to the chain either: a new key is recorded when the chain is right again.
    create_key(data, "acme");
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let (_, log) = server.stop_and_read_log();
    assert!(
        log.contains("heads/acme.json") && log.contains("events are missing"),
        "{log}"
    );
    assert_eq!(head(data, "acme"), older);

    // The option is for one start, in which an organization need not make a request.
    let server = start(data, &["--accept-older-store"]);
    assert_eq!(evaluate(&server, KEY).status, 200);
    let (_, log) = server.stop_and_read_log();
    assert!(log.contains("acme.before-"), "{log}");
    let server = start(data, &[]);
    assert_eq!(evaluate(&server, &acme).status, 200);
    server.stop();
    let kept = names(&data.join("heads"));
    let kept = kept.iter().filter(|name| name.contains("before-"));
    assert_eq!(kept.count(), 1, "the former head is kept");
}

#[test]
fn a_head_of_another_chain_or_without_meaning_stops_its_organization_alone() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    let server = start(data, &[]);
    for key in [&acme, &globex] {
        token(&server, key);
    }
    assert!(server.stop().0.success());
    let file = |org: &str| data.join("heads").join(format!("{org}.json"));
    let own = fs::read_to_string(file("acme")).unwrap();
    let another = fs::read_to_string(file("globex")).unwrap();
    for (text, why) in [
        (&*another, "differ at event"),
        ("{}", "does not hold the head of a chain"),
        ("", "does not hold the head of a chain"),
    ] {
        fs::write(file("acme"), text).unwrap();
        let server = start(data, &[]);
        assert_problem(&evaluate(&server, &acme), 503, "STORE_UNAVAILABLE");
        assert_eq!(evaluate(&server, &globex).status, 200);
        let (_, log) = server.stop_and_read_log();
        assert!(log.contains(why), "{log}");
        assert_eq!(fs::read_to_string(file("acme")).unwrap(), text);
        start(data, &["--accept-older-store"]).stop();
        assert!(!file("acme").exists());
    }
    fs::write(file("acme"), own).unwrap();
    let server = start(data, &[]);
    assert_eq!(evaluate(&server, &acme).status, 200);
}

#[test]
fn a_new_chain_begins_new_chains_of_all_organizations() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let acme = create(data, "acme");
    let server = start(data, &[]);
    let old = token(&server, &acme);
    assert!(server.stop().0.success());
    fs::remove_file(data.join("authority.redb")).unwrap();
    refused(data, &[]);

    let server = start(data, &["--new-chain"]);
    assert_eq!(verify(&server, &acme, &old).body["valid"], false);
    assert_eq!(evaluate(&server, &acme).status, 200);
    assert!(server.stop().0.success());
    let server = start(data, &[]);
    assert_eq!(evaluate(&server, &acme).status, 200);
    let kept = names(&data.join("heads"));
    assert!(kept.iter().any(|name| name.starts_with("acme.before-")));
}

#[test]
fn a_killed_server_whose_organizations_are_ahead_of_their_heads_starts_again() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let acme = create(data, "acme");
    let server = start(data, &[]);
    token(&server, &acme);
    assert!(server.stop().0.success());
    let server = start(data, &[]);
    let fresh = token(&server, &acme);
    server.kill();
    let server = start(data, &[]);
    assert_eq!(verify(&server, &acme, &fresh).body["valid"], true);
}
