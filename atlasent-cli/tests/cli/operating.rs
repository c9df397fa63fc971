//! Commands of operators: a key that cannot be printed is revoked, lists create no files, options
//! have their contract's aliases, and an API key is sent to the named server only.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{atlasent, directory};

#[test]
fn a_key_that_cannot_be_printed_is_revoked() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut create = atlasent(["key", "create", "--data-dir", path]).into_command();
    let ended = create.stdin(Stdio::null()).stdout(writer).output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.starts_with("error: the key could not be printed, so key_")
            && stderr.contains(" is revoked: "),
        "{stderr}"
    );
    let keys = atlasent(["key", "list", "--json", "--data-dir", path]).prints();
    let keys: Value = serde_json::from_str(&keys).unwrap();
    let states: Vec<_> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["state"])
        .collect();
    assert_eq!(states, ["revoked"]);
}

#[test]
fn the_command_that_revokes_a_new_key_works_as_it_is_printed() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let created = atlasent(["key", "create", "--data-dir", path]).run();
    let (_, command) = created
        .stderr
        .trim_end()
        .split_once("run `atlasent ")
        .unwrap();
    let revoked = atlasent(command.trim_end_matches('`').split(' ')).prints();
    assert!(revoked.starts_with("revoked key_"), "{revoked}");
}

#[test]
fn a_key_that_would_have_expired_is_not_created() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let line = atlasent(["key", "create", "--ttl", "0", "--data-dir", path]).misuse();
    assert!(line.contains("at least 1 second"), "{line}");
    assert!(!data.path().join("keys.json").exists());
}

#[test]
fn a_backup_says_why_its_file_cannot_be_written() {
    let data = directory(&[("file", "")]);
    let path = data.path().to_str().unwrap();
    // The folder of the backup is a file.
    let backup = data.path().join("file").join("backup.redb");
    let arguments = ["store", "backup", backup.to_str().unwrap()];
    let line = atlasent(arguments.into_iter().chain(["--data-dir", path])).misuse();
    assert!(line.starts_with("cannot write the backup"), "{line}");
}

#[cfg(unix)]
#[test]
fn a_key_is_not_made_through_a_link() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = directory(&[("shadow", "root's")]);
    let lock = data.path().join("keys.json.lock");
    std::os::unix::fs::symlink(elsewhere.path().join("shadow"), &lock).unwrap();
    let path = data.path().to_str().unwrap();
    let line = atlasent(["key", "create", "--data-dir", path]).misuse();
    assert!(line.contains("keys.json.lock` is a link"), "{line}");
    assert!(!data.path().join("keys.json").exists());
}

#[test]
fn lists_create_nothing() {
    let parent = tempfile::tempdir().unwrap();
    for (existing, list) in [
        (false, ["key", "list"]),
        (false, ["org", "list"]),
        (false, ["signing-key", "list"]),
        (true, ["key", "list"]),
        (true, ["org", "list"]),
        (true, ["signing-key", "list"]),
    ] {
        let data = parent.path().join(list.concat());
        if existing {
            fs::create_dir_all(&data).unwrap();
        }
        let _ = atlasent(
            list.into_iter()
                .chain(["--data-dir", data.to_str().unwrap()]),
        )
        .run();
        assert_eq!(data.exists(), existing, "{list:?}");
        if existing {
            assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "{list:?}");
        }
    }
}

#[test]
fn the_api_key_is_sent_to_the_server_that_was_named_only() {
    for command in ["tail", "export"] {
        let ask = |more: &[&str]| {
            let arguments = ["audit", command].into_iter().chain(more.iter().copied());
            atlasent(arguments).env("ATLASENT_API_KEY", "ask_test_0123456789")
        };
        let line = ask(&[]).misuse();
        assert!(
            line.contains("--base-url") && line.contains("ATLASENT_BASE_URL"),
            "{line}"
        );
        ask(&[]).env("ATLASENT_BASE_URL", "").misuse();
        // A port without a listener.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let line = ask(&["--base-url", &format!("http://{host}")]).misuse();
        assert!(
            line.starts_with(&format!("the call to `{host}` failed: ")),
            "{line}"
        );
        assert!(!line.contains("ask_test_"), "{line}");
    }
}

#[test]
fn an_unknown_event_type_is_refused_with_a_suggestion() {
    for command in ["tail", "export"] {
        let line = atlasent(["audit", command, "--type", "evaluate.denny"]).misuse();
        assert!(line.contains("did you mean `evaluate.deny`?"), "{line}");
    }
}

#[test]
fn the_contract_s_option_names_are_accepted_as_aliases() {
    for name in ["--agent", "--sub"] {
        atlasent(["token", "issue", name, "a", "--scope", "help"])
            .keyed()
            .prints();
    }
    for name in ["--agent", "--actor"] {
        let line = atlasent(["audit", "tail", name, "a"]).misuse();
        assert!(line.starts_with("missing server URL: "), "{line}");
    }
    let help = atlasent(["token", "issue", "--help"]).prints();
    assert!(!help.contains("--sub"), "{help}");
}

#[test]
fn policies_are_those_that_serve_uses_unless_others_are_named() {
    let data = tempfile::tempdir().unwrap();
    let question = [
        "evaluate",
        "--data-dir",
        data.path().to_str().unwrap(),
        "--agent",
        "a",
        "--action",
        "b",
    ];
    let line = atlasent(question).misuse();
    assert!(line.contains("policies"), "{line}");
    let policies = data.path().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(
        policies.join("a.cedar"),
        "permit (principal, action, resource);",
    )
    .unwrap();
    assert!(atlasent(question).prints().starts_with("allow"));
}

#[test]
fn a_token_lives_as_long_as_its_units_say() {
    let issued = |ttl: &str| {
        let token = atlasent([
            "token", "issue", "--agent", "a", "--scope", "help", "--ttl", ttl,
        ]);
        let claims = crate::support::claims(&token.keyed().prints());
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap()
    };
    assert_eq!((issued("90m"), issued("5400")), (5_400, 5_400));
}
