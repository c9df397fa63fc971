//! Help, version and usage errors.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;

use crate::support::{SECRET, atlasent};

const COMMANDS: [&[&str]; 54] = [
    &[],
    &["approvals"],
    &["approvals", "list"],
    &["approvals", "show"],
    &["approvals", "approve"],
    &["approvals", "reject"],
    &["approvals", "watch"],
    &["audit"],
    &["audit", "export"],
    &["audit", "tail"],
    &["audit", "verify"],
    &["boundary"],
    &["boundary", "clippy"],
    &["completions"],
    &["evaluate"],
    &["guard"],
    &["guard", "accept"],
    &["hook"],
    &["key"],
    &["key", "create"],
    &["key", "list"],
    &["key", "revoke"],
    &["org"],
    &["org", "create"],
    &["org", "list"],
    &["org", "set"],
    &["org", "suspend"],
    &["org", "resume"],
    &["policy"],
    &["policy", "check"],
    &["policy", "init"],
    &["policy", "replay"],
    &["policy", "test"],
    &["serve"],
    &["signing-key"],
    &["signing-key", "list"],
    &["signing-key", "rotate"],
    &["token"],
    &["token", "issue"],
    &["token", "delegate"],
    &["token", "validate"],
    &["token", "inspect"],
    &["token", "provision"],
    &["audit", "head"],
    &["audit", "lanes"],
    &["audit", "report"],
    &["stop"],
    &["resume"],
    &["store"],
    &["store", "check"],
    &["store", "backup"],
    &["store", "schema"],
    &["webhook"],
    &["webhook", "verify"],
];

#[test]
fn every_command_prints_help_with_examples_on_standard_output() {
    for command in COMMANDS {
        let long = atlasent(command.iter().chain([&"--help"])).prints();
        let short = atlasent(command.iter().chain([&"-h"])).prints();
        let asked = atlasent([&"help"].into_iter().chain(command)).prints();
        let name = [&["atlasent"], command].concat().join(" ");
        for help in [&long, &short, &asked] {
            assert!(help.contains(&format!("Usage: {name}")), "{help}");
            assert!(!help.contains('\u{1b}'), "{help}");
            assert!(help.lines().all(|line| line.len() <= 120), "{help}");
        }
        assert!(
            long.matches(&format!("\n  {name}")).count() > 0 || command.len() < 2,
            "no example: {long}"
        );
    }
}

#[test]
fn every_command_that_needs_a_key_says_where_it_comes_from() {
    for command in ["issue", "validate", "provision"] {
        let help = atlasent(["token", command, "--help"]).prints();
        for name in [
            "ATI_JWT_PRIVATE_KEY",
            "ATI_JWT_PUBLIC_KEY",
            "ATI_JWT_SECRET",
        ] {
            assert!(help.contains(name), "{command} does not say {name}");
        }
    }
}

/// A second value never replaces the first one: it could be the weaker setting.
#[test]
fn an_option_given_twice_is_misuse_unless_it_is_repeatable() {
    let issue: &[&str] = &["token", "issue", "--sub", "a", "--scope", "help"];
    let validate: &[&str] = &["token", "validate"];
    let provision: &[&str] = &[
        "token",
        "provision",
        "--agent",
        "a",
        "--proxy-url",
        "https://h",
    ];
    for (command, options) in [
        (
            issue,
            &["--ttl", "--aud", "--iss", "--job-id", "--sandbox-id"][..],
        ),
        (validate, &["--aud", "--iss", "--leeway"]),
        (provision, &["--ttl"]),
    ] {
        for option in options {
            let repeated = [option, "60", option, "61"];
            let line = atlasent(command.iter().chain(&repeated)).keyed().misuse();
            assert!(line.contains("is given twice"), "{option}: {line}");
        }
    }
    for (command, option) in [
        (issue, "--sub"),
        (issue, "--scope"),
        (provision, "--agent"),
        (provision, "--proxy-url"),
    ] {
        let line = atlasent(command.iter().chain(&[option, "b"]))
            .keyed()
            .misuse();
        assert!(line.contains("is given twice"), "{option}: {line}");
    }
    // Repeatable options add values, but a pattern cannot have two rates.
    let repeatable = [
        "--tool", "a", "--tool", "b", "--skill", "c", "--skill", "d", "--scope", "e", "--scope",
        "f",
    ];
    let rates = ["--rate", "tool:a=1/d", "--rate", "tool:b=2/d"];
    let output = atlasent(provision.iter().chain(&repeatable).chain(&rates))
        .keyed()
        .prints();
    let claims = crate::support::claims(output.rsplit('=').next().unwrap());
    assert_eq!(claims["scope"], "tool:a tool:b skill:c skill:d e f");
    assert_eq!(
        claims["ati"]["rate"],
        serde_json::json!({"tool:a": "1/day", "tool:b": "2/day"})
    );
    let clash = ["--rate", "tool:a=1/d", "--rate", "tool:a=9/s"];
    for command in [issue, provision] {
        let line = atlasent(command.iter().chain(&clash)).keyed().misuse();
        assert!(line.contains("two rates"), "{line}");
    }
}

#[test]
fn the_exit_codes_are_documented() {
    let help = atlasent(["--help"]).prints();
    for code in ["0  success", "1  negative result", "2  bad usage"] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn the_version_is_the_package_s() {
    let version = format!("atlasent {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(atlasent(["--version"]).prints(), version);
    assert_eq!(atlasent(["-V"]).prints(), version);
}

#[test]
fn a_mistake_is_one_line_that_says_what_and_where_to_read_on() {
    for (arguments, line) in [
        (
            vec![],
            "missing command, one of `serve`, `guard`, `hook`, `policy`, `evaluate`, `boundary`, `approvals`, `audit`, `key`, `org`, `signing-key`, `stop`, `resume`, `store`, `token`, `webhook`, `completions`, `help`; see `atlasent --help`",
        ),
        (
            vec!["tokn"],
            "unknown command `tokn`; did you mean `token`?; see `atlasent --help`",
        ),
        (
            vec!["help", "tokn"],
            "unknown command `tokn`; see `atlasent --help`",
        ),
        (
            vec!["--verbose"],
            "unexpected argument `--verbose`; did you mean `--version`?; see `atlasent --help`",
        ),
        (
            vec!["token"],
            "missing command, one of `issue`, `delegate`, `validate`, `inspect`, `provision`, `help`; see `atlasent token --help`",
        ),
        (
            vec!["completions"],
            "missing `<SHELL>`; see `atlasent completions --help`",
        ),
        (
            vec!["token", "issue"],
            "missing `--agent <AGENT>`, `--scope <SCOPES>`; see `atlasent token issue --help`",
        ),
        (
            vec!["token", "issue", "--sub"],
            "`--agent <AGENT>` needs a value; see `atlasent token issue --help`",
        ),
        (
            vec!["token", "issue", "--agnet", "a"],
            "unexpected argument `--agnet`; did you mean `--agent`?; see `atlasent token issue --help`",
        ),
        (
            vec!["token", "issue", "--sub", "a", "--sub", "b"],
            "`--agent <AGENT>` is given twice; see `atlasent token issue --help`",
        ),
        (
            vec!["token", "validate", "a", "b"],
            "unexpected argument `b`; see `atlasent token validate --help`",
        ),
        (
            vec!["token", "inspect", "--json=1"],
            "unexpected argument `--json`; see `atlasent token inspect --help`",
        ),
        (
            vec!["token", "provision", "--json=1"],
            "`--json` takes no value; see `atlasent token provision --help`",
        ),
        (
            vec!["completions", "powershell"],
            "`<SHELL>` must be one of `bash`, `zsh`, `fish`; see `atlasent completions --help`",
        ),
        (
            vec!["stop", "--all", "--agent", "a", "--reason", "r"],
            "`--all` cannot be combined with `--agent <AGENT>`; see `atlasent stop --help`",
        ),
    ] {
        assert_eq!(atlasent(arguments).keyed().misuse(), line);
    }
}

#[test]
fn the_program_is_called_the_same_however_it_was_started() {
    let mut renamed = atlasent(["token", "--help"]).into_command();
    let output = renamed.arg0("/opt/\u{1b}[31mother").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("\nUsage: atlasent token <COMMAND>"), "{help}");
}

#[test]
fn times_are_seconds_or_have_units() {
    let issue = ["token", "issue", "--sub", "a", "--scope", "help"];
    for ttl in ["0", "-1", "1.5", "1x", "", " 1", "99999999999999999999"] {
        let line = atlasent(issue.iter().chain([&"--ttl", &ttl]))
            .keyed()
            .misuse();
        assert!(
            line.contains("--ttl <DURATION>") || line.contains("argument `-1`"),
            "{line}"
        );
    }
    for leeway in ["-1", "1.5", "soon", ""] {
        let line = atlasent(["token", "validate", "--leeway", leeway])
            .keyed()
            .misuse();
        assert!(
            line.contains("--leeway <DURATION>") || line.contains("argument `-1`"),
            "{line}"
        );
    }
}

#[test]
fn arguments_that_are_not_utf_8_are_bad_usage() {
    let line = atlasent([
        OsStr::new("token"),
        OsStr::new("issue"),
        OsStr::new("--sub"),
        OsStr::from_bytes(b"\xff"),
    ])
    .misuse();
    assert!(line.contains("not UTF-8"), "{line}");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let option = format!("--{SECRET}");
    let value = format!("--secret={SECRET}");
    for arguments in [
        vec![SECRET],
        vec![option.as_str()],
        vec!["completions", SECRET],
        vec!["token", SECRET],
        vec!["token", "issue", SECRET],
        vec!["token", "issue", "--secret", SECRET],
        vec!["token", "issue", &value],
        vec![
            "token", "issue", "--sub", "a", "--scope", "help", "--ttl", SECRET,
        ],
        vec![
            "token", "issue", "--sub", "a", "--scope", "help", "--rate", SECRET,
        ],
        vec!["token", "provision", "--agent", "a", "--proxy-url", SECRET],
        vec!["token", "validate", "--leeway", SECRET],
        vec!["token", "validate", "token", SECRET],
    ] {
        let line = atlasent(&arguments).keyed().misuse();
        assert!(!line.contains(&SECRET[..33]), "{arguments:?}: {line}");
    }
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    for arguments in [["completions", "bash"], ["token", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = atlasent(arguments)
            .into_command()
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..])
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = atlasent(["completions", "bash"])
        .into_command()
        .stdout(full)
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        line.starts_with("error: cannot write to standard output: "),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn the_exit_code_stands_when_standard_error_is_gone() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = atlasent(["tokn"])
        .into_command()
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
