#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use super::*;

fn write(path: &Path) -> io::Result<()> {
    publish(path, Publish::Over, |file| file.write_all(b"new"))
}

/// A file outside of the folder, which no operation may touch.
fn victim() -> (tempfile::TempDir, std::path::PathBuf) {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("shadow");
    fs::write(&file, "root's").unwrap();
    (elsewhere, file)
}

#[test]
fn a_file_is_never_opened_created_or_given_away_through_a_link() {
    let (elsewhere, victim) = victim();
    let folder = tempfile::tempdir().unwrap();
    // As root, the folder is another user's, so that new files are given away.
    let is_root = chown(folder.path(), Some(12_345), Some(12_345)).is_ok();
    let before = fs::metadata(&victim).unwrap();
    let place = folder.path().join("keys.json.lock");

    symlink(&victim, &place).unwrap();
    let error = open_or_create(&place).unwrap_err();
    assert!(error.to_string().contains("is a link"), "{error}");
    assert!(read_own(&place, 100).is_err());

    let nowhere = elsewhere.path().join("nowhere");
    fs::remove_file(&place).unwrap();
    symlink(&nowhere, &place).unwrap();
    open_or_create(&place).unwrap_err();
    assert!(!nowhere.exists());

    fs::remove_file(&place).unwrap();
    fs::hard_link(&victim, &place).unwrap();
    let error = open_or_create(&place).unwrap_err();
    assert!(error.to_string().contains("hard link"), "{error}");
    fs::remove_file(&place).unwrap();

    // A written file replaces the link.
    symlink(&victim, &place).unwrap();
    write(&place).unwrap();
    assert!(fs::symlink_metadata(&place).unwrap().is_file());
    fs::remove_file(&place).unwrap();
    fs::hard_link(&victim, &place).unwrap();
    write(&place).unwrap();
    if is_root {
        assert_eq!(fs::metadata(&place).unwrap().uid(), 12_345);
    }

    let after = fs::metadata(&victim).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"root's");
    assert_eq!(
        (after.uid(), after.mode(), after.nlink()),
        (before.uid(), before.mode(), 1)
    );
}

#[test]
fn a_folder_that_is_a_link_is_refused() {
    let (elsewhere, _) = victim();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("signing");
    symlink(elsewhere.path(), &link).unwrap();
    let error = write(&link.join("signing-key.pem")).unwrap_err();
    assert!(error.to_string().contains("is a link"), "{error}");
    open_or_create(&link.join("authority.redb")).unwrap_err();
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_everyone_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode));
    mode(0o777).unwrap();
    let error = write(&folder.path().join("keys.json")).unwrap_err();
    assert!(error.to_string().contains("chmod o-w"), "{error}");
    for allowed in [0o1777, 0o770, 0o700] {
        mode(allowed).unwrap();
        write(&folder.path().join("keys.json")).unwrap();
    }
}

#[cfg(feature = "server")]
#[test]
fn a_private_folder_is_created_below_no_link_and_no_folder_of_everyone() {
    let (elsewhere, _) = victim();
    let base = tempfile::tempdir().unwrap();
    let archive = base.path().join("data/archive");
    let acme = archive.join("acme");
    create_private_folder(&acme).unwrap();
    create_private_folder(&acme).unwrap();
    for folder in [&archive, &acme] {
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    fs::set_permissions(&archive, fs::Permissions::from_mode(0o777)).unwrap();
    let error = create_private_folder(&archive.join("globex")).unwrap_err();
    assert!(error.to_string().contains("chmod o-w"), "{error}");

    fs::remove_dir_all(&archive).unwrap();
    symlink(elsewhere.path(), &archive).unwrap();
    let error = create_private_folder(&acme).unwrap_err();
    assert!(error.to_string().contains("is a link"), "{error}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn a_pipe_is_refused_and_never_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("keys.json");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    open_or_create(&pipe).unwrap_err();
    read_own(&pipe, 100).unwrap_err();
    read(&pipe, 100).unwrap_err();
}

#[test]
fn new_files_are_the_folder_owners_and_for_them_alone() {
    let folder = tempfile::tempdir().unwrap();
    let is_root = chown(folder.path(), Some(12_345), Some(54_321)).is_ok();
    for name in ["keys.json", "keys.json.lock"] {
        let path = folder.path().join(name);
        match name {
            "keys.json" => write(&path).unwrap(),
            _ => drop(open_or_create(&path).unwrap()),
        }
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600);
        if is_root {
            assert_eq!((metadata.uid(), metadata.gid()), (12_345, 54_321));
        }
    }
}

#[test]
fn a_file_larger_than_its_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    write(&path).unwrap();
    assert_eq!(read(&path, 3).unwrap().0, b"new");
    assert!(read(&path, 2).is_err() && read_own(&path, 2).is_err());
}

fn create(base: &Path, below: &str) -> io::Result<()> {
    create_below(base, below, |file| file.write_all(b"new"))
}

#[test]
fn what_is_created_below_a_folder_is_readable_and_of_its_owner() {
    let base = tempfile::tempdir().unwrap();
    let is_root = chown(base.path(), Some(12_345), Some(12_345)).is_ok();
    fs::create_dir(base.path().join("orgs")).unwrap();
    create(base.path(), "orgs/acme/policies/start.cedar").unwrap();
    let metadata = |below: &str| fs::metadata(base.path().join(below)).unwrap();
    for (below, mode) in [
        ("orgs/acme", 0o755),
        ("orgs/acme/policies", 0o755),
        ("orgs/acme/policies/start.cedar", 0o644),
    ] {
        // The umask may remove what others may do.
        let found = metadata(below).mode() & 0o777;
        assert_eq!((found & !mode, found & 0o600), (0, 0o600), "{below}");
        // `orgs` was there, and is root's.
        assert_eq!(metadata(below).uid(), metadata("orgs").uid(), "{below}");
    }
    create(base.path(), "acme/start.cedar").unwrap();
    if is_root {
        for below in ["acme", "acme/start.cedar"] {
            assert_eq!(metadata(below).uid(), 12_345);
        }
    }

    let error = create_below(base.path(), "acme/start.cedar", |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        fs::read(base.path().join("acme/start.cedar")).unwrap(),
        b"new"
    );
    let fails = |_: &mut File| Err(io::Error::other("full"));
    create_below(base.path(), "acme/other.cedar", fails).unwrap_err();
    assert!(!base.path().join("acme/other.cedar").exists());
}

#[test]
fn nothing_is_created_through_a_link_below_the_folder_or_outside_of_it() {
    let (elsewhere, victim) = victim();
    let base = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), base.path().join("acme")).unwrap();
    let error = create(base.path(), "acme/policies/start.cedar").unwrap_err();
    assert!(error.to_string().contains("is a link"), "{error}");
    fs::create_dir(base.path().join("b")).unwrap();
    symlink(
        elsewhere.path().join("new"),
        base.path().join("b/start.cedar"),
    )
    .unwrap();
    create(base.path(), "b/start.cedar").unwrap_err();
    for below in ["../start.cedar", "/start.cedar", "b/../../start.cedar", ""] {
        let error = create(base.path(), below).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{below}");
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    assert!(victim.exists());
}
