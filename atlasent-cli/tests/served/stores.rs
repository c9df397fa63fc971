//! `atlasent store check` and `atlasent store backup`.

use std::fs;
use std::path::Path;

use super::commands::{decide, output, run_against, run_in_data_dir};
use super::process::{Server, atlasent};

fn check(file: &Path) -> (i32, String, String) {
    output(atlasent().args(["store", "check"]).arg(file))
}

#[test]
fn a_running_store_is_backed_up_checked_and_served_again() {
    let data = tempfile::tempdir().unwrap();
    let backup = data.path().join("backup.redb");
    let to = backup.to_str().unwrap();
    let server = Server::start(data.path(), &[]);
    for _ in 0..20 {
        decide(&server);
    }
    let (code, stdout, stderr) = run_against(&server, &["store", "backup", to]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(
        stdout,
        format!("wrote the backup {to}, which passed `atlasent store check`\n")
    );
    decide(&server);
    let (code, _, stderr) = run_against(&server, &["store", "backup", to]);
    assert!(code == 2 && stderr.contains("already exists"), "{stderr}");
    // The store of a running server cannot be checked in place.
    let (code, _, stderr) = run_in_data_dir(data.path(), &["store", "check"]);
    assert!(
        code == 2 && stderr.contains("another process has it open"),
        "{stderr}"
    );
    server.stop();

    let before = fs::read(&backup).unwrap();
    let (code, stdout, stderr) = check(&backup);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stdout.contains("is intact") && stdout.contains("head:      event 21"),
        "{stdout}"
    );
    assert_eq!(
        fs::read(&backup).unwrap(),
        before,
        "a check changes nothing"
    );
    let (code, stdout, stderr) = run_in_data_dir(data.path(), &["store", "check"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("head:      event 22"), "{stdout}");

    // A backup of the store of a stopped server, and a server on the first backup.
    let second = data.path().join("second.redb");
    let (code, stdout, stderr) =
        run_in_data_dir(data.path(), &["store", "backup", second.to_str().unwrap()]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(check(&second).1.contains("head:      event 22"));
    fs::rename(&backup, data.path().join("authority.redb")).unwrap();
    let server = Server::start(data.path(), &["--accept-older-store"]);
    assert_eq!(decide(&server)["decision"], "allow");
}

#[test]
fn a_killed_server_s_store_is_checked_and_a_damaged_one_is_not_whole() {
    let data = tempfile::tempdir().unwrap();
    let store = data.path().join("authority.redb");
    let server = Server::start(data.path(), &[]);
    for _ in 0..20 {
        decide(&server);
    }
    server.kill();
    let (code, stdout, stderr) = check(&store);
    assert_eq!(code, 0, "{stdout}{stderr}");

    let whole = fs::read(&store).unwrap();
    let agent = b"deploy-bot";
    let places = whole.windows(agent.len()).enumerate();
    for (byte, _) in places.filter(|(_, found)| *found == agent) {
        let mut changed = whole.clone();
        changed[byte] = b'D';
        fs::write(&store, changed).unwrap();
        let (code, stdout, stderr) = check(&store);
        // A change in an unused page is no damage.
        assert!(
            code != 0 || stdout.contains("is intact"),
            "{stdout}{stderr}"
        );
        assert!(code != 2 || stderr.contains("authority.redb"), "{stderr}");
    }
    for damage in [&b""[..], b"no store", &whole[..whole.len() / 2]] {
        fs::write(&store, damage).unwrap();
        let (code, stdout, stderr) = check(&store);
        assert!(code != 0, "{stdout}");
        assert!(
            stderr.contains("authority.redb") || stdout.contains("is damaged"),
            "{stdout}{stderr}"
        );
        assert_eq!(fs::read(&store).unwrap(), damage);
    }
    let (code, _, stderr) = check(Path::new("/nowhere"));
    assert!(code == 2 && stderr.contains("/nowhere"), "{stderr}");
}

#[test]
fn a_store_that_is_not_a_file_is_not_backed_up() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--store", "memory"]);
    let to = data.path().join("backup.redb");
    let (code, _, stderr) = run_against(&server, &["store", "backup", to.to_str().unwrap()]);
    assert!(
        code == 2 && stderr.contains("keeps nothing in a file"),
        "{stderr}"
    );
    let left: Vec<_> = fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("backup"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
