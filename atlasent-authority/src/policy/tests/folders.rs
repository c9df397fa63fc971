//! What the folder of a policy set may contain, and its manifest.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Policies;

const MANIFEST: &str = "policies.sha256";
const OPEN: &str = "permit (principal, action, resource);";
const CLOSED: &str = "forbid (principal, action, resource);";

fn line(name: &str, text: &str) -> String {
    let digest = base16ct::lower::encode_string(&Sha256::digest(text));
    format!("{digest}  {name}\n")
}

#[test]
fn a_set_that_does_not_match_its_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("a.cedar", OPEN);
    put(MANIFEST, &line("a.cedar", OPEN));
    Policies::from_dir(folder.path()).unwrap();
    let refused = |why: &str| {
        let error = Policies::from_dir(folder.path()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    put("b.cedar", CLOSED);
    refused("does not list `b.cedar`");
    put(
        MANIFEST,
        &(line("a.cedar", OPEN) + &line("b.cedar", CLOSED)),
    );
    Policies::from_dir(folder.path()).unwrap();
    put("b.cedar", OPEN);
    refused("`b.cedar` has another content");
    fs::remove_file(folder.path().join("b.cedar")).unwrap();
    refused("`b.cedar`: ");
    for bad in ["", "x", "00  a.cedar", &line("../a.cedar", OPEN)] {
        put(MANIFEST, bad);
        refused(MANIFEST);
    }
    put(MANIFEST, &line("a.cedar", OPEN).repeat(2));
    refused("listed already");
    put(MANIFEST, &line("./a.cedar", OPEN).replace("  ", " *"));
    Policies::from_dir(folder.path()).unwrap();
}

#[cfg(unix)]
#[test]
fn pipes_and_what_everyone_can_write_are_refused_without_waiting() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.cedar");
    fs::write(&rules, OPEN).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |why: &str| {
        let error = Policies::from_dir(folder.path()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    mode(&rules, 0o666);
    refused("everyone can write this file");
    mode(&rules, 0o664);
    mode(folder.path(), 0o777);
    refused("everyone can write to this folder");
    mode(folder.path(), 0o775);
    Policies::from_dir(folder.path()).unwrap();
    for name in ["pipe.cedar", MANIFEST, "other"] {
        let pipe = folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        refused("a pipe");
        fs::remove_file(pipe).unwrap();
    }
}
