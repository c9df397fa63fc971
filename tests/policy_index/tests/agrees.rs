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
fn records_and_ids_that_compile_are_accepted() {
    let authority = authority();
    let geo = fixture::Geo {
        lat: 52.5,
        tags: vec!["home".to_owned()],
    };
    fixture::records(&authority, Some(geo), "dark blue").unwrap();
    fixture::records(&authority, None, "red").unwrap();
    // Only a run knows an id that is no literal.
    let denied = fixture::records(&authority, None, "pink").unwrap_err();
    assert!(denied.to_string().contains("colours"), "{denied}");
}

#[test]
fn an_action_that_a_constant_names_is_that_action() {
    let authority = authority();
    fixture::constant(&authority, 3).unwrap();
    fixture::other_type(&authority, Some("three")).unwrap();
    fixture::other_type(&authority, None).unwrap();
    assert_eq!(fixture::constant_alone(&authority).unwrap(), "look");
    fixture::generic_constant(&authority).unwrap();
    fixture::typed_constant(&authority).unwrap();
    assert_eq!(<fixture::Look as atlasent::NamedAction>::NAME, "look");
    let stage = fixture::Stage {
        commit: "4f2a",
        replicas: Some("three"),
    };
    let _permit = atlasent::blocking::protect(&authority, "bot", stage).unwrap();
}

#[test]
fn sites_show_the_value_of_a_constant_and_whether_it_is_checked() {
    let sites = atlasent::sites();
    let site = |function: &str| {
        let found = sites.iter().find(|site| site.function() == Some(function));
        let site = found.unwrap();
        (site.action(), site.type_name(), site.is_checked())
    };
    assert_eq!(site("constant"), (Some("deploy.production"), None, true));
    assert_eq!(site("constant_alone"), (Some("look"), None, true));
    assert_eq!(
        site("unchecked_constant"),
        (Some("undeclared"), None, false)
    );
    // A constant that is an action is checked where the action is derived.
    assert_eq!(site("typed_constant"), (Some("look"), Some("Look"), false));
    let derived = sites.iter().find(|site| site.path().ends_with("::Stage"));
    let derived = derived.unwrap();
    assert_eq!(derived.action(), Some("deploy.canary"));
    assert!(derived.is_checked());
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
    let denied = fixture::unchecked_constant(&authority()).unwrap_err();
    assert!(matches!(denied, Error::Denied(_)), "{denied}");
    let untyped = |replicas| fixture::Untyped {
        commit: String::new(),
        replicas,
    };
    let three = untyped(serde_json::json!(3));
    let _permit = atlasent::blocking::protect(&authority(), "bot", three).unwrap();
    let text = untyped(serde_json::json!("three"));
    assert!(atlasent::blocking::protect(&authority(), "bot", text).is_err());
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
