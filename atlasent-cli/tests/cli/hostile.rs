//! For any arguments and any input, the exit code and the output follow the contract.

use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{SECRET, atlasent};

const WORDS: &[&str] = &[
    "token",
    "issue",
    "validate",
    "inspect",
    "provision",
    "policy",
    "check",
    "test",
    "evaluate",
    "--policies",
    "--action",
    "--context",
    "--strict",
    "/",
    "completions",
    "bash",
    "help",
    "--help",
    "-h",
    "--version",
    "-",
    "--",
    "--sub",
    "--scope",
    "--ttl",
    "--aud",
    "--iss",
    "--rate",
    "--job-id",
    "--sandbox-id",
    "--leeway",
    "--agent",
    "--proxy-url",
    "--tool",
    "--skill",
    "--json",
    "a",
    "tool:a*",
    "tool:a=1/s",
    "60",
    "https://host/",
    "",
];

/// Generates valid and invalid arguments. They contain no NUL, which the system refuses.
fn arguments() -> impl Strategy<Value = Vec<String>> {
    let word = select(WORDS).prop_map(str::to_owned);
    let assigned = (select(WORDS), "[^\0]{0,12}").prop_map(|(word, text)| format!("{word}={text}"));
    prop::collection::vec(
        prop_oneof![6 => word, 1 => assigned, 1 => "[^\0]{0,40}"],
        0..10,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_arguments_and_any_input_end_as_the_contract_says(
        arguments in arguments(),
        stdin in prop::collection::vec(any::<u8>(), 0..200),
        secret in prop_oneof![Just(SECRET.to_owned()), "[^\0]{0,70}"],
    ) {
        let ended = atlasent(&arguments).env("ATI_JWT_SECRET", &secret).stdin(stdin).run();
        match ended.code {
            0 => prop_assert!(ended.stderr.lines().all(|line| line.starts_with("warning: ")), "{ended:?}"),
            1 if ended.stderr.is_empty() => prop_assert!(!ended.stdout.is_empty(), "a negative result without findings"),
            1 => drop(ended.failure(1, "refused: ")),
            2 => drop(ended.failure(2, "error: ")),
            code => prop_assert!(false, "exit code {code}"),
        }
    }
}
