//! Commands on the data directory of a stopped server that has several organizations.

use std::fs;

use serde_json::Value;

use super::support::*;
use crate::commands::{output, run_in_data_dir};
use crate::process::{KEY, Server, atlasent};

#[test]
fn commands_on_a_stopped_server_read_one_organization_and_check_and_copy_all() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    create(data, "unused");
    write_policies(&policies(data, "globex"), DENY);
    let server = Server::start(data, &["--log-level", "error"]);
    for _ in 0..3 {
        token(&server, &acme);
    }
    assert_eq!(evaluate(&server, &globex).body["decision"], "deny");
    token(&server, KEY);
    server.stop();
    let run = |arguments: &[&str]| run_in_data_dir(data, arguments);
    let keys = data.join("public-keys");
    fs::write(&keys, run(&["signing-key", "list"]).1).unwrap();

    for (org, options, decisions) in [
        ("local", &[][..], 1),
        ("local", &["--org", "local"], 1),
        ("acme", &["--org", "acme"], 3),
        ("globex", &["--org", "globex"], 1),
    ] {
        let (code, head, stderr) = run(&[&["audit", "head"], options].concat());
        assert_eq!(code, 0, "{stderr}");
        let file = data.join("head");
        fs::write(&file, &head).unwrap();
        let (code, bundle, stderr) = run(&[&["audit", "export"], options].concat());
        assert_eq!(code, 0, "{stderr}");
        let json: Value = serde_json::from_str(&bundle).unwrap();
        let events = json["events"].as_array().unwrap();
        assert!(
            events.iter().all(|event| event["org_id"] == org),
            "{bundle}"
        );
        let decided = events
            .iter()
            .filter(|event| event["type"].as_str().unwrap().starts_with("evaluate."));
        assert_eq!(decided.count(), decisions, "{org}");
        let bundle_file = data.join("bundle");
        fs::write(&bundle_file, bundle).unwrap();
        let mut verify = atlasent();
        verify.args(["audit", "verify"]).arg(&bundle_file);
        verify.arg("--expect-head").arg(&file);
        let (code, stdout, stderr) = output(verify.arg("--key").arg(&keys));
        assert_eq!(code, 0, "{stdout}{stderr}");
    }

    for command in ["export", "head"] {
        let (code, stdout, stderr) = run(&["audit", command, "--org", "nobody"]);
        assert_eq!((code, &*stdout), (2, ""));
        assert!(stderr.contains("has no organization `nobody`"), "{stderr}");
        let (code, _, stderr) = run(&["audit", command, "--org", "Acme!"]);
        assert!(code == 2 && stderr.contains("has 1 to 64 of"), "{stderr}");
        // A server knows the organization from the API key.
        let (code, _, stderr) = output(atlasent().args(["audit", command, "--org", "acme"]));
        assert!(code == 2 && stderr.contains("--data-dir"), "{stderr}");
    }

    let copy = data.join("copy.redb");
    let (code, _, stderr) = run(&["store", "backup", copy.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    for (code, stdout, stderr) in [
        run(&["store", "check"]),
        output(atlasent().args(["store", "check"]).arg(&copy)),
    ] {
        assert_eq!(code, 0, "{stderr}");
        // `unused` has an event: its key was created.
        assert!(stdout.contains("3 organizations, intact"), "{stdout}");
    }
}

#[test]
fn an_evaluation_without_a_server_uses_the_policies_of_the_organization() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    for (org, text) in [("acme", ALLOW), ("globex", DENY)] {
        create(data, org);
        write_policies(&policies(data, org), text);
    }
    let asked = [
        "evaluate",
        "--agent",
        "deploy-bot",
        "--action",
        "deploy.production",
    ];
    let run = |more: &[&str]| run_in_data_dir(data, &[&asked, more].concat());
    assert_eq!(run(&["--org", "acme"]).0, 0);
    assert_eq!(run(&["--org", "globex"]).0, 1);
    let (code, _, stderr) = run(&["--org", "nobody"]);
    assert!(
        code == 2 && stderr.contains("organizations/nobody/policies"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&["--org", "acme", "--policies", "."]);
    assert!(code == 2 && stderr.contains("--policies"), "{stderr}");
}
