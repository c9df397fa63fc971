//! What compiles against the policies is what the authority accepts.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use atlasent::{Error, protect};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests_policy_index as fixture;

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::from_dir("policies").unwrap()).unwrap()
}

#[test]
fn every_type_that_compiles_is_accepted() {
    let authority = authority();
    fixture::required(&authority).unwrap();
    fixture::required_in_other_ways(&authority).unwrap();
    fixture::optional(&authority, Some("note"), vec![1]).unwrap();
    fixture::optional(&authority, None, vec![]).unwrap();
    fixture::fields(&authority).unwrap();
    fixture::computed(&authority, &serde_json::json!({})).unwrap();
}

#[test]
fn a_typed_action_that_compiles_is_accepted() {
    let deploy = fixture::Deploy {
        commit: "4f2a".to_owned(),
        count: 3_u8,
        tags: None,
        note: String::new(),
    };
    let permit = atlasent::blocking::protect(&authority(), "bot", deploy).unwrap();
    assert_eq!(permit.into_action().count, 3);
}

#[test]
fn an_unchecked_action_compiles_and_the_authority_denies_it() {
    let denied = fixture::unchecked(&authority()).unwrap_err();
    assert!(matches!(denied, Error::Denied(_)), "{denied}");
    let undeclared = fixture::Undeclared { anything: 1 };
    assert!(atlasent::blocking::protect(&authority(), "bot", undeclared).is_err());
}

/// A test of this package is checked, too.
#[protect(action = "deploy.production", agent = "bot", authority = authority, context = { commit: "4f2a", replicas: 1 })]
fn deploy(authority: &LocalAuthority) -> Result<(), Error> {
    Ok(())
}

#[test]
fn a_test_is_checked_and_runs() {
    deploy(&authority()).unwrap();
}
