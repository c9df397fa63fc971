//! The policies in the program are those of the folder, and a program can refuse policies with
//! another schema than it was compiled with.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::env;
use std::path::Path;

use atlasent::{Error, protect};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests_included::actions::Ok as OkAction;
use atlasent_tests_included::{POLICIES, SCHEMA};
use futures_executor::block_on;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

#[test]
fn embedded_policies_are_those_of_the_folder() {
    let folder = Policies::from_dir(FOLDER).unwrap();
    let embedded = Policies::from_embedded(&POLICIES).unwrap();
    assert_eq!(POLICIES.digest(), folder.digest());
    assert_eq!(embedded.digest(), folder.digest());
    assert_eq!(Some(SCHEMA), folder.schema_digest());
    assert_eq!(POLICIES.schema_digest(), SCHEMA);
    let names: Vec<_> = POLICIES.files().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["bots.cedar", "entities.json", "schema.cedarschema"]);
    for (name, text) in POLICIES.files() {
        assert_eq!(
            std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap(),
            *text
        );
    }
}

#[protect(action = OkAction, agent = "bot", authority = authority)]
fn guarded(authority: &LocalAuthority, ran: &mut u32) -> Result<(), Error> {
    *ran += 1;
    Ok(())
}

/// The embedded policies with another schema and another policy.
fn changed(schema: impl Fn(&str) -> String, policy: &str) -> Policies {
    let mut builder = Policies::builder().source("bots.cedar", policy);
    for (name, text) in POLICIES.files() {
        builder = match *name {
            "schema.cedarschema" => builder.schema(name, schema(text)),
            "entities.json" => builder.entities(name, *text),
            _ => builder,
        };
    }
    builder.build().unwrap()
}

const OPEN: &str = "permit (principal, action, resource);";
const CLOSED: &str = "forbid (principal, action, resource);";

fn with_another_action(schema: &str) -> String {
    format!("{schema}\naction another appliesTo {{ principal: Agent, resource: Resource }};")
}

#[test]
fn policies_with_another_schema_do_not_start() {
    let other = changed(with_another_action, OPEN);
    let builder = LocalAuthority::builder(other).require_schema(SCHEMA);
    let Err(Error::Config(error)) = block_on(builder.build()) else {
        panic!("it started");
    };
    assert!(error.message().contains(SCHEMA), "{error}");

    let same = changed(str::to_owned, OPEN);
    let builder = LocalAuthority::builder(same).require_schema(SCHEMA);
    let authority = block_on(builder.build()).unwrap();
    let mut ran = 0;
    guarded(&authority, &mut ran).unwrap();
    assert_eq!(ran, 1);
}

#[test]
fn a_replacement_with_another_schema_is_refused_and_recorded() {
    let closed = changed(str::to_owned, CLOSED);
    let authority = block_on(
        LocalAuthority::builder(closed)
            .require_schema(SCHEMA)
            .build(),
    )
    .unwrap();
    let digest = authority.policies().digest().to_owned();

    let without = Policies::parse(OPEN).unwrap();
    for open in [changed(with_another_action, OPEN), without] {
        let refused = block_on(authority.replace_policies(open)).unwrap_err();
        assert!(matches!(refused, Error::Config(_)), "{refused}");
        assert_eq!(authority.policies().digest(), digest);
        let mut ran = 0;
        guarded(&authority, &mut ran).unwrap_err();
        assert_eq!(ran, 0);
    }
    let trail = block_on(authority.trail()).unwrap();
    let kinds = trail.events.iter().map(|event| &*event.envelope.kind);
    assert_eq!(kinds.filter(|kind| *kind == "policy.error").count(), 2);

    // Other policies with the same schema replace the former ones.
    block_on(authority.replace_policies(changed(str::to_owned, OPEN))).unwrap();
    let mut ran = 0;
    guarded(&authority, &mut ran).unwrap();
    assert_eq!(ran, 1);
}
