//! The files of organizations in the data directory: the registry, and the policies.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use atlasent_authority::organizations::Suspension;

use super::support::*;
use crate::process::{KEY, Server, atlasent};
use crate::replaced::refused;

const QUICK: [&str; 4] = ["--log-level", "error", "--policy-settle", "0"];

#[test]
fn a_registry_that_cannot_be_read_stops_the_start_and_says_why() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("organizations.json");
    let record = |id: &str| format!(r#"{{"id":"{id}","created_at":"2026-01-01T00:00:00Z"}}"#);
    let acme = record("acme");
    for (text, why) in [
        ("[{".to_owned(), "line 1"),
        ("{}".to_owned(), "line 1"),
        (format!("[{}]", record("local")), "`local` is the organ"),
        (format!("[{acme},{acme}]"), "`acme` is listed twice"),
        (format!("[{}]", record("../x")), "has 1 to 64 of the"),
    ] {
        fs::write(&path, &text).unwrap();
        let stderr = refused(data.path(), &[]);
        assert!(
            stderr.contains("organizations.json") && stderr.contains(why),
            "{stderr}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let stderr = refused(data.path(), &[]);
    assert!(stderr.contains("no regular file"), "{stderr}");
}

#[test]
fn without_a_registry_there_is_local_alone_until_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let acme = create(data, "acme");
    let (path, aside) = (registry(data).path().to_owned(), data.join("aside"));
    let server = Server::start(data, &QUICK);
    let token = token(&server, &acme);
    fs::rename(&path, &aside).unwrap();
    let refused = until(&server, &acme, |answer| answer.status == 403);
    assert_problem(&refused, 403, "UNKNOWN_ORGANIZATION");
    assert_eq!(evaluate(&server, KEY).status, 200);
    server.stop();

    let server = Server::start(data, &QUICK);
    assert_problem(&evaluate(&server, &acme), 403, "UNKNOWN_ORGANIZATION");
    fs::rename(&aside, &path).unwrap();
    until(&server, &acme, |answer| answer.status == 200);
    assert_eq!(verify(&server, &acme, &token).body["valid"], true);
}

#[test]
fn a_registry_that_breaks_while_the_server_runs_leaves_what_was_known() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let (acme, globex) = (create(data, "acme"), create(data, "globex"));
    change(data, "globex", |globex| {
        globex.suspended = Some(Suspension::new("r"));
    });
    let path = registry(data).path().to_owned();
    let good = fs::read(&path).unwrap();
    let server = Server::start(data, &QUICK);
    for text in [&b"[{"[..], b"", b"[{\"id\":\"local\"}]"] {
        fs::write(&path, text).unwrap();
        server.signal("HUP");
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert_eq!(evaluate(&server, &acme).status, 200);
        assert_problem(&evaluate(&server, &globex), 403, "ORGANIZATION_SUSPENDED");
    }
    fs::write(&path, good).unwrap();
    change(data, "acme", |acme| {
        acme.suspended = Some(Suspension::new("r"));
    });
    change(data, "globex", |globex| globex.suspended = None);
    until(&server, &acme, |answer| answer.status == 403);
    until(&server, &globex, |answer| answer.status == 200);
}

#[cfg(unix)]
#[test]
fn a_registry_behind_a_link_is_read_and_never_written_through_it() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let acme = create(data, "acme");
    let (path, mounted) = (registry(data).path().to_owned(), data.join("mounted"));
    fs::rename(&path, &mounted).unwrap();
    std::os::unix::fs::symlink(&mounted, &path).unwrap();
    let server = Server::start(data, &QUICK);
    assert_eq!(evaluate(&server, &acme).status, 200);
    let before = fs::read(&mounted).unwrap();
    let suspend = registry(data).change(&id("acme"), |acme| {
        acme.suspended = Some(Suspension::new("r"));
    });
    assert!(suspend.unwrap_err().to_string().contains("is a link"));
    assert_eq!(fs::read(&mounted).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn a_registry_that_everyone_can_replace_is_not_changed() {
    use std::os::unix::fs::PermissionsExt;

    let data = tempfile::tempdir().unwrap();
    create(data.path(), "acme");
    fs::set_permissions(data.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let changed = registry(data.path()).change(&id("acme"), |acme| acme.name = None);
    let error = changed.unwrap_err().to_string();
    assert!(error.contains("everyone can replace"), "{error}");
}

#[cfg(unix)]
#[test]
fn an_organization_without_safe_and_valid_policies_decides_nothing_until_it_has_some() {
    use std::os::unix::fs::PermissionsExt;

    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    type Break = fn(&Path);
    let break_policies: [(&str, Break); 4] = [
        ("missing", |folder| fs::remove_dir_all(folder).unwrap()),
        ("a-file", |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::write(folder, ALLOW).unwrap();
        }),
        ("writable", |folder| {
            fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).unwrap();
        }),
        ("broken", |folder| write_policies(folder, "permit (")),
    ];
    let keys = break_policies.map(|(org, _)| create(data, org));
    for (org, break_policies) in break_policies {
        break_policies(&policies(data, org));
    }
    let linked = create(data, "linked");
    let elsewhere = data.join("mounted");
    fs::rename(policies(data, "linked"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, policies(data, "linked")).unwrap();

    let server = Server::start(data, &QUICK);
    // A mounted configuration is a link, as for `local`.
    assert_eq!(evaluate(&server, &linked).status, 200);
    for (key, (org, _)) in keys.iter().zip(break_policies) {
        assert_problem(&evaluate(&server, key), 503, "POLICIES_UNAVAILABLE");
        let verified = verify(&server, key, "pt_0123456789abcdef");
        assert_problem(&verified, 503, "POLICIES_UNAVAILABLE");
        let mut connection = connect(&server, key);
        assert_eq!(connection.get("/v1/stops").unwrap().status, 200);
        let page = connection.get("/v1-audit/events?types=policy.error");
        assert_eq!(page.unwrap().body["total"], 1, "{org}");

        let folder = policies(data, org);
        let _ = fs::remove_file(&folder);
        write_policies(&folder, ALLOW);
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        until(&server, key, |answer| answer.status == 200);
    }
}

#[test]
fn the_log_says_what_follows_from_refused_policies() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let acme = create(data, "acme");
    let folder = policies(data, "acme");
    write_policies(&folder, "permit (");
    let mut command = atlasent();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(data).args(QUICK).stderr(Stdio::piped());
    let server = Server::run(command);
    let refused = |times: u64| {
        wait(|| {
            let page = connect(&server, &acme).get("/v1-audit/events?types=policy.error");
            (page.unwrap().body["total"] == times).then_some(())
        });
    };
    assert_problem(&evaluate(&server, &acme), 503, "POLICIES_UNAVAILABLE");
    refused(1);
    write_policies(&folder, "permit ((");
    refused(2);
    write_policies(&folder, ALLOW);
    until(&server, &acme, |answer| answer.status == 200);
    write_policies(&folder, "permit (");
    refused(3);
    // The line is written after the event.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (_, log) = server.stop_and_read_log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("policies refused; "))
        .collect();
    let stays = |line: &str| line.contains("the former ones stay");
    let without_former = lines.iter().take_while(|line| !stays(line)).count();
    assert!(without_former >= 2 && without_former < lines.len(), "{log}");
    assert!(
        lines[without_former..].iter().all(|line| stays(line)),
        "{log}"
    );
}

#[test]
fn the_folder_of_all_policies_has_to_exist_and_those_in_it_need_not() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let keys = ["acme", "globex"].map(|org| create(data, org));
    let folder = data.join("of-all");
    let option = ["--org-policies", folder.to_str().unwrap()];
    let stderr = refused(data, &option);
    assert!(
        stderr.contains("`--org-policies`") && stderr.contains("is not a directory"),
        "{stderr}"
    );
    write_policies(&folder.join("acme"), ALLOW);
    fs::write(folder.join("globex"), "no folder").unwrap();
    let server = Server::start(data, &option);
    assert_eq!(evaluate(&server, &keys[0]).body["decision"], "allow");
    assert_problem(&evaluate(&server, &keys[1]), 503, "POLICIES_UNAVAILABLE");
}
