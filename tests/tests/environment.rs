//! Tests a program that configures no authority: it gets a client from the environment, or a
//! refusal that names what is missing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, and a program that it runs"
)]

use std::env;
use std::process::Command;

use atlasent::{Error, protect};
use atlasent_tests::server::{Reply, Request, Server};

const KEY: &str = "ask_test_0123456789";
const NAMES: [&str; 3] = [
    "ATLASENT_API_KEY",
    "ATLASENT_BASE_URL",
    "ATLASENT_ALLOW_INSECURE_HTTP",
];

/// The default authority can be set once in a process, so each case runs this test again in its own
/// process.
const CHILD: &str = "ATLASENT_TEST_CHILD";
const RAN: &str = "the body ran";

#[protect(action = "deploy", agent = "deploy-bot")]
fn deploy() -> Result<(), Error> {
    println!("{RAN}");
    Ok(())
}

/// Returns the output of a program with this environment.
fn program(test: &str, environment: &[(&str, &str)]) -> String {
    let mut program = Command::new(env::current_exe().unwrap());
    program
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    for name in NAMES {
        program.env_remove(name);
    }
    program.envs(environment.iter().copied());
    String::from_utf8(program.output().unwrap().stdout).unwrap()
}

fn is_child() -> bool {
    let is_child = env::var_os(CHILD).is_some();
    if is_child && let Err(error) = deploy() {
        println!("{error}");
    }
    is_child
}

#[test]
fn a_key_and_a_base_url_are_all_that_it_takes() {
    if is_child() {
        return;
    }
    let server = Server::start(|request: &Request| match request.path() {
        "/v1-evaluate" => Reply::json(200, r#"{"decision":"allow","permit_token":"p"}"#),
        _ => Reply::json(200, r#"{"valid":true}"#),
    });
    let test = "a_key_and_a_base_url_are_all_that_it_takes";
    let environment = [
        ("ATLASENT_API_KEY", KEY),
        ("ATLASENT_BASE_URL", server.url()),
    ];
    let printed = program(test, &environment);
    assert!(printed.contains(RAN), "{printed}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_missing_or_wrong_setting_is_named_and_nothing_runs() {
    if is_child() {
        return;
    }
    let test = "a_missing_or_wrong_setting_is_named_and_nothing_runs";
    let key = ("ATLASENT_API_KEY", KEY);
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[], "the API key is missing: set `ATLASENT_API_KEY`"),
        (&[("ATLASENT_API_KEY", "")], "the API key is missing"),
        (
            &[("ATLASENT_API_KEY", "sk-0123456789")],
            "the API key that starts with `sk-01234` is invalid",
        ),
        (
            &[key, ("ATLASENT_BASE_URL", "http://atlasent.example.com")],
            "would send the API key in the clear",
        ),
        (
            &[key, ("ATLASENT_BASE_URL", "atlasent.example.com")],
            "is not an absolute URL",
        ),
    ];
    for (environment, says) in cases {
        let printed = program(test, environment);
        assert!(
            printed.contains("there is no default authority"),
            "{printed}"
        );
        assert!(printed.contains(says), "{environment:?}: {printed}");
        assert!(!printed.contains(RAN), "{environment:?}: {printed}");
        assert!(
            !printed.contains("0123456789"),
            "{environment:?}: {printed}"
        );
    }
}

#[test]
fn plain_http_elsewhere_takes_a_word_of_its_own() {
    if is_child() {
        return;
    }
    let test = "plain_http_elsewhere_takes_a_word_of_its_own";
    // The name does not resolve: the client is created, and its request fails.
    let environment = |allow| {
        [
            ("ATLASENT_API_KEY", KEY),
            ("ATLASENT_BASE_URL", "http://nowhere.invalid"),
            ("ATLASENT_ALLOW_INSECURE_HTTP", allow),
        ]
    };
    for refused in ["", "0", "true", "yes"] {
        let printed = program(test, &environment(refused));
        assert!(printed.contains("in the clear"), "{printed}");
    }
    let printed = program(test, &environment("1"));
    assert!(printed.contains("no usable answer (network)"), "{printed}");
    assert!(!printed.contains(RAN), "{printed}");
}
