//! Tests that a test's scope opens nothing in a process with a default authority. A default can be
//! set once in a process, so each case runs this test again in its own process.

use std::env;
use std::process::Command;

use atlasent::authority::default_authority;
use atlasent::testing::{MockAuthority, with_authority, with_authority_blocking};
use atlasent::{Action, AuthorityExt, Error, Guarded, Permit, configure, protect};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};
use futures_executor::block_on;

const CHILD: &str = "ATLASENT_TEST_CHILD";
const REFUSED: &str = "this process has a default authority, so the one of \
                       `atlasent::testing::with_authority` does not count: test with scopes in a process \
                       that configures no authority";
const ALLOWS: &str = "permit (principal, action, resource);";
const DENIES: &str = "forbid (principal, action, resource);";

#[derive(Action)]
#[action("deploy.production")]
struct Deploy;

#[protect(action = "deploy.production", agent = "deploy-bot")]
async fn deploy(ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = "deploy.production", agent = "deploy-bot")]
fn deploy_blocking(ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

/// Runs `case` in its own process, with this environment.
fn in_own_process(test: &str, environment: &[(&str, &str)], case: fn()) {
    if env::var(CHILD).is_ok_and(|child| child == test) {
        return case();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("configured::{test}"), "--nocapture"])
        .env_remove("ATLASENT_API_KEY")
        .env_remove("ATLASENT_BASE_URL")
        .env(CHILD, test)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn local(policies: &str) -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(policies).unwrap()).unwrap()
}

fn mock() -> MockAuthority {
    MockAuthority::new().allow(ACTION)
}

fn permit_of_mock() -> Permit<Deploy> {
    block_on(mock().protect(AGENT, Deploy)).unwrap()
}

/// Tries each kind of call with a scope of a mock that allows everything.
fn assert_scopes_open_nothing() {
    let ran = Ran::new();
    let before = Guarded::<_, Deploy>::new(&ran);
    with_authority_blocking(mock(), || {
        let errors = [
            deploy_blocking(&ran).unwrap_err(),
            block_on(deploy(&ran)).unwrap_err(),
            block_on(with_authority(mock(), deploy(&ran))).unwrap_err(),
            default_authority().err().unwrap(),
        ];
        for error in errors {
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert_eq!(error.to_string(), REFUSED);
        }
        let inside = Guarded::<_, Deploy>::new(&ran);
        for guarded in [&before, &inside] {
            let error = guarded.with(permit_of_mock(), |ran| ran.hit()).unwrap_err();
            assert!(matches!(error, Error::Denied(_)), "{error:?}");
            // A permit of the authority of the scope.
            let mock = std::sync::Arc::new(mock());
            let permit = block_on(mock.protect(AGENT, Deploy)).unwrap();
            with_authority_blocking(mock, || assert!(guarded.open(permit).is_err()));
        }
    });
    assert!(before.open(permit_of_mock()).is_err());
    assert_eq!(ran.count(), 0);
}

#[test]
fn a_scope_opens_nothing_where_an_authority_that_denies_is_configured() {
    in_own_process(
        "a_scope_opens_nothing_where_an_authority_that_denies_is_configured",
        &[],
        || {
            configure(local(DENIES)).unwrap();
            assert_scopes_open_nothing();
            let error = deploy_blocking(&Ran::new()).unwrap_err();
            assert!(matches!(error, Error::Denied(_)), "{error:?}");
        },
    );
}

#[test]
fn a_scope_opens_nothing_where_an_authority_that_allows_is_configured() {
    in_own_process(
        "a_scope_opens_nothing_where_an_authority_that_allows_is_configured",
        &[],
        || {
            configure(local(ALLOWS)).unwrap();
            assert_scopes_open_nothing();
            // The configured authority is unchanged.
            let ran = Ran::new();
            deploy_blocking(&ran).unwrap();
            let default = default_authority().unwrap();
            let guarded = Guarded::<_, Deploy>::new(&ran);
            let permit = || block_on(default.protect(AGENT, Deploy)).unwrap();
            guarded.with(permit(), |ran| ran.hit()).unwrap();
            with_authority_blocking(mock(), || guarded.with(permit(), |ran| ran.hit())).unwrap();
            assert_eq!(ran.count(), 3);
        },
    );
}

#[test]
fn a_scope_opens_nothing_where_a_default_was_taken_from_the_environment() {
    in_own_process(
        "a_scope_opens_nothing_where_a_default_was_taken_from_the_environment",
        &[
            ("ATLASENT_API_KEY", "ask_test_0123456789"),
            ("ATLASENT_BASE_URL", "http://127.0.0.1:1"),
        ],
        || {
            drop(default_authority().unwrap());
            assert_scopes_open_nothing();
            assert!(default_authority().is_ok());
        },
    );
}

#[test]
fn after_a_scope_no_default_is_configured_or_taken_from_the_environment() {
    in_own_process(
        "after_a_scope_no_default_is_configured_or_taken_from_the_environment",
        &[
            ("ATLASENT_API_KEY", "ask_test_0123456789"),
            ("ATLASENT_BASE_URL", "http://127.0.0.1:1"),
        ],
        || {
            let ran = Ran::new();
            with_authority_blocking(mock(), || deploy_blocking(&ran)).unwrap();
            // A service that starts now gets an error.
            assert!(configure(local(ALLOWS)).is_err());
            assert!(matches!(default_authority(), Err(Error::Config(_))));
            assert!(matches!(deploy_blocking(&ran), Err(Error::Config(_))));
            assert_eq!(ran.count(), 1);
        },
    );
}

#[test]
fn a_second_configuration_is_refused_and_says_what_happened() {
    in_own_process(
        "a_second_configuration_is_refused_and_says_what_happened",
        &[],
        || {
            configure(local(DENIES)).unwrap();
            let error = configure(mock()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "an authority was already configured, or taken from the environment: call `configure` once, \
                 at start-up, before the first protected call"
            );
            let error = deploy_blocking(&Ran::new()).unwrap_err();
            assert!(matches!(error, Error::Denied(_)), "{error:?}");
        },
    );
}
