//! The store itself, checked and backed up by its operator.

use std::fs;
use std::path::Path;

use super::commands::{asking, decide, on, output};
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
    let (code, said, why) = asking(&server, &["store", "backup", to]);
    assert_eq!(code, 0, "{said}{why}");
    assert_eq!(
        said,
        format!("wrote the backup {to}, which passed `atlasent store check`\n")
    );
    decide(&server);
    let (code, _, why) = asking(&server, &["store", "backup", to]);
    assert!(code == 2 && why.contains("already exists"), "{why}");
    // One that runs cannot be checked in place.
    let (code, _, why) = on(data.path(), &["store", "check"]);
    assert!(
        code == 2 && why.contains("another process has it open"),
        "{why}"
    );
    server.stop();

    let before = fs::read(&backup).unwrap();
    let (code, said, why) = check(&backup);
    assert_eq!(code, 0, "{said}{why}");
    assert!(
        said.contains("is intact") && said.contains("head:      event 21"),
        "{said}"
    );
    assert_eq!(
        fs::read(&backup).unwrap(),
        before,
        "a check changes nothing"
    );
    let (code, said, why) = on(data.path(), &["store", "check"]);
    assert_eq!(code, 0, "{said}{why}");
    assert!(said.contains("head:      event 22"), "{said}");

    // A backup of a store at rest, and a server on the first backup.
    let second = data.path().join("second.redb");
    let (code, said, why) = on(data.path(), &["store", "backup", second.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}{why}");
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
    let (code, said, why) = check(&store);
    assert_eq!(code, 0, "{said}{why}");

    let whole = fs::read(&store).unwrap();
    let agent = b"deploy-bot";
    let places = whole.windows(agent.len()).enumerate();
    for (byte, _) in places.filter(|(_, found)| *found == agent) {
        let mut changed = whole.clone();
        changed[byte] = b'D';
        fs::write(&store, changed).unwrap();
        let (code, said, why) = check(&store);
        // A page that is not in use any more may hold anything.
        assert!(code != 0 || said.contains("is intact"), "{said}{why}");
        assert!(code != 2 || why.contains("authority.redb"), "{why}");
    }
    for damage in [&b""[..], b"no store", &whole[..whole.len() / 2]] {
        fs::write(&store, damage).unwrap();
        let (code, said, why) = check(&store);
        assert!(code != 0, "{said}");
        assert!(
            why.contains("authority.redb") || said.contains("is damaged"),
            "{said}{why}"
        );
        assert_eq!(fs::read(&store).unwrap(), damage);
    }
    let (code, _, why) = check(Path::new("/nowhere"));
    assert!(code == 2 && why.contains("/nowhere"), "{why}");
}

#[test]
fn what_is_no_file_is_backed_up_in_another_way() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &["--store", "memory"]);
    let to = data.path().join("backup.redb");
    let (code, _, why) = asking(&server, &["store", "backup", to.to_str().unwrap()]);
    assert!(
        code == 2 && why.contains("keeps nothing in a file"),
        "{why}"
    );
    let left: Vec<_> = fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("backup"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
