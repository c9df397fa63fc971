//! The later Python SDK against a server: each of its calls, as its users make them. The calls are
//! in `python_sdk/calls.py`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::commands::{create_live_key, output};
use super::process::{Server, atlasent};

const POLICIES: &str = r#"
@id("all")
permit (principal, action, resource);

@id("four-eyes")
@decision("hold")
@reason("a release needs two people")
@code("INSUFFICIENT_APPROVALS")
@approvers("role:release-manager")
@quorum("2")
@escalate_to("role:director")
@redact("token")
forbid (principal, action == Action::"release.deploy", resource);

@id("one")
@decision("hold")
@reason("a migration needs a person")
@approvers("role:release-manager")
@redact("token")
forbid (principal, action == Action::"database.migrate", resource);

@id("never")
@reason("nobody drops the database")
@code("NEVER")
forbid (principal, action == Action::"database.drop", resource);
"#;

/// The API keys, by their names in the script, and the options that create them. Alice has two: one
/// that votes, and one that asks.
const KEYS: [(&str, &[&str]); 7] = [
    ("AGENT", &["--name", "agent"]),
    ("OTHER", &["--name", "other"]),
    (
        "ALICE",
        &["--approver", "alice", "--role", "release-manager"],
    ),
    (
        "ALICES_AGENT",
        &["--approver", "alice", "--scope", "evaluate"],
    ),
    ("BOB", &["--approver", "bob", "--role", "release-manager"]),
    ("IAN", &["--approver", "ian", "--role", "intern"]),
    ("DORA", &["--approver", "dora", "--role", "director"]),
];

/// The secret of the issuer of signed approvals, in hex.
const ISSUER_KEY: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

/// Declares a test for each function of the script.
macro_rules! promises {
    ($($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                run_promise(stringify!($name));
            }
        )*

        const PROMISES: &[&str] = &[$(stringify!($name)),*];
    };
}

promises! {
    two_approvers_release_a_held_call_once,
    the_asynchronous_client_is_held_and_released_as_well,
    a_verification_names_the_approval,
    a_vote_that_does_not_count_is_refused,
    a_decision_that_the_caller_may_not_see_does_not_exist,
    a_rejection_is_final_and_reaches_the_agent,
    an_escalation_lets_the_next_approvers_decide,
    a_decision_is_ended_by_those_who_asked_or_could_decide,
    a_program_asks_people_by_hand,
    a_list_holds_each_decision_once,
    a_signed_approval_releases_its_request_once,
    permits_are_listed_looked_at_and_revoked,
    batches_and_preflights_are_read,
    the_trail_is_listed_and_its_export_verifies,
    a_key_tells_what_it_may_do,
}

#[test]
fn each_promise_of_the_script_has_a_test() {
    let Some(python) = python() else { return };
    let (code, stdout, stderr) = output(&mut script(&python));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.lines().collect::<Vec<_>>(), PROMISES);
}

/// Runs a function of the script against a server of its own.
#[track_caller]
fn run_promise(promise: &str) {
    let Some(python) = python() else { return };
    let data = tempfile::tempdir().unwrap();
    let policies = data.path().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("policies.cedar"), POLICIES).unwrap();
    let issuers = data.path().join("issuers.json");
    let trusted = json!({"approvals.example": {"k1": {"alg": "HS256", "key": ISSUER_KEY}}});
    fs::write(&issuers, trusted.to_string()).unwrap();

    let folder = data.path().to_str().unwrap();
    let mut calls = script(&python);
    for (name, options) in KEYS {
        calls.env(name, create_live_key(folder, options));
    }
    let mut serve = atlasent();
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", folder])
        .arg("--approval-issuers")
        .arg(&issuers);
    let server = Server::run(serve);
    calls
        .arg(promise)
        .env("ATLASENT_BASE_URL", format!("http://{}", server.address))
        .env("ISSUER_KEY", ISSUER_KEY);
    let (code, _, stderr) = output(&mut calls);
    assert_eq!(code, 0, "{stderr}");
}

fn script(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/served/python_sdk/calls.py"))
        .env_clear()
        .env("ATLASENT_ALLOW_INSECURE_HTTP", "1");
    command
}

/// Returns the Python that has the SDK of `.ci/python-sdk`. Without it, prints that the test is
/// skipped, or fails if `ATLASENT_REQUIRE_PYTHON_SDK` is 1.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python-sdk");
    if folder.join("installed").exists() {
        return Some(folder.join("venv/bin/python"));
    }
    let required = std::env::var_os("ATLASENT_REQUIRE_PYTHON_SDK");
    let is_required = required.is_some_and(|value| value == "1");
    assert!(!is_required, "no Python SDK: run `.ci/python-sdk`");
    // Written directly, because the test harness shows the output of failures only.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: no Python SDK: `.ci/python-sdk` installs it"
    );
    None
}
