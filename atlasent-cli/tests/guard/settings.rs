//! Settings that cannot be used, and credentials that stay in the guard.

use std::fs;

use serde_json::json;

use super::support::{EVERYTHING, Piped, Stage, atlasent, counting_server, run};

#[test]
fn an_error_of_the_settings_names_the_file_the_line_and_the_key() {
    let stage = Stage::new(EVERYTHING);
    let file = stage.path("guard.toml");
    for (text, words) in [
        ("name = 7", &["line 1"][..]),
        ("name = \"a\"\nagnt = \"b\"", &["line 2", "agnt"]),
        (
            "name = \"a b\"\npolicies = \"p\"",
            &["guard.toml", "`name`", "`a b`"],
        ),
        ("policies = \"p\"", &["--name"]),
        ("name = \"a\"", &["--policies"]),
        (
            "name = \"a\"\npolicies = \"p\"\nurl = \"https://x\"",
            &["policies", "url"],
        ),
        ("name = \"a\"\npolicies = \"p\"\nwait = \"soon\"", &["wait"]),
        (
            "name = \"a\"\npolicies = \"p\"\n[server]\n",
            &["[server]", "command"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[server]\ncommand = [\"x\"]\nenv = { A = { file = \"f\", env = \"E\" } }",
            &["env.A"],
        ),
        (
            "name = \"a\"\npolicies = \"p\"\n[server]\nurl = \"https://x\"\nbearer = \"hunter2\"",
            &["line 5"],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let data = stage.path("data");
        let arguments = ["guard", "--config", &file, "--data-dir", &data].map(str::to_owned);
        let (code, stdout, stderr) = run(atlasent(), &arguments);
        assert_eq!((code, &*stdout), (2, ""), "{text}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{text}: {stderr}");
        assert!(
            words.iter().all(|word| stderr.contains(word)),
            "{text}: {stderr}"
        );
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn a_server_that_cannot_be_started_is_named() {
    let stage = Stage::new(EVERYTHING);
    let command = ["--", "/nonexistent/server"].map(str::to_owned);
    let (code, _, stderr) = run(
        atlasent(),
        &[stage.guard("fake"), command.to_vec()].concat(),
    );
    assert_eq!(code, 2);
    assert!(stderr.contains("/nonexistent/server"), "{stderr}");
}

#[test]
fn a_secret_reaches_the_server_and_nothing_else() {
    let stage = Stage::new(EVERYTHING);
    let (log, secret) = (stage.path("log"), stage.path("secret"));
    fs::write(&secret, "hunter2\n").unwrap();
    let seen = stage.path("seen");
    let script = format!(
        "printf %s \"$TOKEN\" > {seen}; exec {}",
        counting_server(&log, "")[1..].join(" ")
    );
    let config = format!(
        "name = \"fake\"\npolicies = {:?}\n[server]\ncommand = [\"sh\", \"-c\", {script:?}]\nenv = {{ TOKEN = {{ file = {secret:?} }} }}\n",
        stage.path("policies"),
    );
    let file = stage.path("guard.toml");
    fs::write(&file, config).unwrap();
    let data = stage.path("data");
    let arguments = [
        "guard",
        "--config",
        &file,
        "--data-dir",
        &data,
        "--log-level",
        "debug",
    ]
    .map(str::to_owned);
    let mut guard = Piped::start(&arguments);
    guard.initialize();
    let answer = guard.call(1, "write", &json!({"path": "/a"}));
    assert!(!answer.to_string().contains("hunter2"));
    assert_eq!(fs::read_to_string(seen).unwrap(), "hunter2");
    drop(guard);
    let pins = fs::read_to_string(stage.path("data/pins/fake.json")).unwrap();
    assert!(!pins.contains("hunter2"));
}
