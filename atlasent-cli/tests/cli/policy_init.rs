//! `atlasent policy init`: a set that passes its own checks, and nothing overwritten.

use std::fs;
use std::path::Path;

use crate::support::{atlasent, directory};

const NAMES: [&str; 6] = [
    "entities.json",
    "files.cedar",
    "payments.cedar",
    "schema.cedarschema",
    "suspended.cedar",
    "tests.json",
];

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_set_passes_check_and_test_as_it_is_written() {
    let directory = directory(&[]);
    let policies = directory.path().join("a/policies");
    let path = policies.to_str().unwrap();
    let printed = atlasent(["policy", "init", path]).prints();
    assert_eq!(names(&policies), NAMES);
    for name in NAMES {
        assert!(
            printed.contains(&format!("wrote {path}/{name}\n")),
            "{printed}"
        );
    }
    // The printed next commands work unchanged.
    let commands: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  atlasent "))
        .collect();
    assert_eq!(commands.len(), 3, "{printed}");
    let checked = atlasent(commands[0].split(' ')).prints();
    assert!(checked.starts_with("5 policies, 0 warnings\n"), "{checked}");
    assert_eq!(
        atlasent(commands[1].split(' ')).prints(),
        "10 passed, 0 failed\n"
    );
    assert!(commands[2].starts_with("serve --policies "), "{printed}");
}

#[test]
fn the_default_is_a_folder_named_policies() {
    let directory = directory(&[]);
    let mut command = atlasent(["policy", "init"]).into_command();
    let output = command.current_dir(directory.path()).output().unwrap();
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.starts_with("wrote policies/payments.cedar\n"),
        "{stdout}"
    );
    assert_eq!(names(&directory.path().join("policies")), NAMES);
}

#[test]
fn nothing_is_overwritten_and_then_nothing_is_written() {
    for taken in NAMES.into_iter().chain(["own.cedar"]) {
        let directory = directory(&[(taken, "mine")]);
        let path = directory.path().to_str().unwrap();
        let line = atlasent(["policy", "init", path]).misuse();
        assert!(
            line.starts_with(&format!(
                "`{path}/{taken}` already exists, so nothing was written"
            )),
            "{line}"
        );
        assert_eq!(names(directory.path()), [taken]);
        let kept = fs::read_to_string(directory.path().join(taken)).unwrap();
        assert_eq!(kept, "mine");
    }
}

#[test]
fn a_link_to_nowhere_is_not_written_through() {
    let directory = directory(&[]);
    let target = directory.path().join("elsewhere");
    let inside = directory.path().join("policies");
    fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(&target, inside.join("tests.json")).unwrap();
    let line = atlasent(["policy", "init", inside.to_str().unwrap()]).misuse();
    assert!(line.contains("tests.json` already exists"), "{line}");
    assert!(!target.exists());
    assert_eq!(names(&inside), ["tests.json"]);
}

#[test]
fn other_files_of_the_directory_stay() {
    let directory = directory(&[("notes.txt", "mine")]);
    atlasent(["policy", "init", directory.path().to_str().unwrap()]).prints();
    assert_eq!(names(directory.path()).len(), NAMES.len() + 1);
    let notes = fs::read_to_string(directory.path().join("notes.txt")).unwrap();
    assert_eq!(notes, "mine");
}

#[test]
fn a_path_that_is_not_a_directory_is_misuse() {
    let directory = directory(&[("file", "mine")]);
    let path = directory.path().join("file");
    let line = atlasent(["policy", "init", path.to_str().unwrap()]).misuse();
    assert!(
        line.starts_with("cannot read `") && line.contains("file`"),
        "{line}"
    );
    let below = path.join("policies");
    let line = atlasent(["policy", "init", below.to_str().unwrap()]).misuse();
    assert!(line.starts_with("cannot "), "{line}");
}

#[test]
fn a_path_with_odd_characters_is_quoted_for_the_shell() {
    let directory = directory(&[]);
    let path = directory.path().join("my policies'");
    let stdout = atlasent(["policy", "init", path.to_str().unwrap()]).prints();
    assert!(stdout.contains(r"my policies'\'''"), "{stdout}");
}

/// A server of the Model Context Protocol, as a shell script: it answers the handshake and the list
/// of its tools.
#[cfg(unix)]
fn server(tools: &str) -> String {
    let answer = |id: u8, result: &str| {
        format!(r#"read line; echo '{{"jsonrpc":"2.0","id":{id},"result":{result}}}'"#)
    };
    let script = [
        answer(1, r#"{"capabilities":{"tools":{}}}"#),
        "read notification".to_owned(),
        answer(2, &format!(r#"{{"tools":{tools}}}"#)),
        "cat >/dev/null".to_owned(),
    ];
    format!("sh -c \"{}\"", script.join("; ").replace('"', "\\\""))
}

#[cfg(unix)]
const TOOLS: &str = r#"[
    {"name":"read","description":"Reads a file.","annotations":{"readOnlyHint":true},
     "inputSchema":{"type":"object","required":["path"],"properties":{"path":{"type":"string"}}}},
    {"name":"write","inputSchema":{"type":"object","required":["path"],
     "properties":{"path":{"type":"string"},"mode":{}}}}
]"#;

#[cfg(unix)]
#[test]
fn the_set_for_a_server_passes_its_checks_and_names_what_it_does_not_cover() {
    let directory = directory(&[]);
    let policies = directory.path().join("policies");
    let path = policies.to_str().unwrap();
    let tools = TOOLS.replace('\n', "");
    let init = [
        "policy",
        "init",
        path,
        "--name",
        "fs",
        "--mcp",
        &server(&tools),
    ];
    let printed = atlasent(init).prints();
    let note = "note: `write`: the argument `mode` has no type (its schema allows values of any type), \
                so calls with it are denied";
    assert!(printed.contains(note), "{printed}");
    assert_eq!(
        names(&policies),
        [
            "entities.json",
            "fs.cedar",
            "schema.cedarschema",
            "tests.json"
        ]
    );
    let commands = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  atlasent "));
    let commands: Vec<&str> = commands.collect();
    let checked = atlasent(commands[0].split(' ')).prints();
    assert!(checked.starts_with("4 policies, 0 warnings\n"), "{checked}");
    assert_eq!(
        atlasent(commands[1].split(' ')).prints(),
        "7 passed, 0 failed\n"
    );
    // The last command puts a guard in front of the same server.
    let (options, guarded) = commands[2].split_once(" -- ").unwrap();
    assert_eq!(options, format!("guard --name fs --policies {path}"));
    assert_eq!(shlex::split(guarded), shlex::split(&server(&tools)));
    // The client of that guard may read.
    let help = atlasent(["guard", "--help"]).prints();
    assert!(help.contains("[default: mcp-client]"), "{help}");
    let context = r#"{"path":"/srv/files/a"}"#;
    let read = [
        "evaluate",
        "--policies",
        path,
        "--agent",
        "mcp-client",
        "--action",
        "mcp.fs.read",
        "--context",
        context,
    ];
    let decided = atlasent(read).prints();
    assert!(decided.starts_with("allow"), "{decided}");
    // The same again overwrites nothing.
    assert!(atlasent(init).misuse().contains("already exists"));
}

#[cfg(unix)]
#[test]
fn a_server_that_cannot_be_asked_leaves_no_file() {
    let directory = directory(&[]);
    let policies = directory.path().join("policies");
    let path = policies.to_str().unwrap();
    for (command, error) in [
        ("", "the command is empty"),
        ("sh -c 'x", "a quote in the command is not closed"),
        ("atlasent-no-such-program", "it did not start"),
        ("false", "it ended before it answered `initialize`"),
        (&*server("[]"), "the server lists no tools"),
        (&*server(r#"[{"name":"x"}]"#), "`inputSchema`"),
    ] {
        let init = ["policy", "init", path, "--name", "fs", "--mcp", command];
        let failed = atlasent(init).misuse();
        assert!(failed.contains(error), "{command}: {failed}");
        assert!(!policies.exists());
    }
    atlasent(["policy", "init", path, "--mcp", "true"]).misuse();
}
