//! The compiler's verdict on a site agrees with the authority's verdict on its request.
//!
//! The test writes a package with random policies and, for each action, random sites: about half of
//! them fit, and the others have one misfit. `cargo check` runs once, and each error belongs to the
//! site on whose lines it is. The authority decides on the request of each site, with the JSON of
//! the very values that the code has.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic fails the test"
)]

mod numbers;
#[path = "../package/mod.rs"]
mod package;
mod samples;
mod schema;
mod site;

use std::collections::{BTreeMap, BTreeSet};

use atlasent::{AnyAction, Context, Error};
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::Value;

use numbers::Numbers;
use package::Package;
use schema::Schema;
use site::Site;

/// The same policies and sites in each run.
const SEED: u64 = 0x5eed;
const ACTIONS: usize = 250;
const SITES: usize = 500;

#[test]
fn what_compiles_is_what_the_authority_accepts() {
    let mut numbers = Numbers::new(SEED);
    let schema = Schema::random(&mut numbers, ACTIONS);
    let sites: Vec<Site> = (0..SITES)
        .map(|number| Site::random(&mut numbers, &schema, number))
        .collect();

    let accepted = accepted(&schema, &sites);
    let errors = compile_errors(&schema, &sites);

    let mut disagreements = String::new();
    for (number, site) in sites.iter().enumerate() {
        let compiles = !errors.contains_key(&number);
        let runs = accepted.contains(&number);
        if compiles != site.fits || runs != site.fits {
            disagreements += &format!(
                "\nfits: {}, compiles: {compiles}, is accepted: {runs}\n{}{}\n{:?}\n",
                site.fits,
                site.code,
                site.context,
                errors.get(&number),
            );
        }
    }
    assert!(disagreements.is_empty(), "{disagreements}");
    let fitting = sites.iter().filter(|site| site.fits).count();
    assert!((SITES / 3..SITES * 2 / 3).contains(&fitting), "{fitting}");
    // Each kind of error is there.
    let all = errors
        .values()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    for part in [
        "has no context key `",
        "requires the context key",
        "has no key `",
        "requires the key",
        "where the schema says",
        "has no id `",
        "unknown action `",
        "evaluation panicked: action `",
        "evaluation panicked: unknown action `",
        "evaluation panicked: `Colour` has no id `",
    ] {
        assert!(all.contains(part), "no error has `{part}`");
    }
}

/// Returns the sites whose requests the authority accepts. All policies permit everything, so a
/// denial is a mismatch with the schema.
fn accepted(schema: &Schema, sites: &[Site]) -> BTreeSet<usize> {
    let policies = Policies::builder()
        .schema("schema.cedarschema", schema.text())
        .source("all.cedar", EVERYTHING)
        .build()
        .unwrap();
    let authority = LocalAuthority::in_memory(policies).unwrap();
    let accepts = |site: &Site| {
        let context = Context::from_serialize(&site.context).unwrap();
        let action = AnyAction::new(site.action.clone()).unwrap();
        match atlasent::blocking::protect(&authority, "bot", action.with_context(context)) {
            Ok(_) => true,
            Err(Error::Denied(_)) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let accepted = sites.iter().enumerate().filter(|(_, site)| accepts(site));
    accepted.map(|(number, _)| number).collect()
}

const EVERYTHING: &str = "permit (principal, action, resource);";

/// Returns the compiler's errors of the sites that have some.
fn compile_errors(schema: &Schema, sites: &[Site]) -> BTreeMap<usize, Vec<String>> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dependencies = "serde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\n";
    let package = Package::new(folder.path(), "random_sites", dependencies);
    package.write("policies/schema.cedarschema", &schema.text());
    package.write("policies/all.cedar", EVERYTHING);
    let mut code = format!("{HEAD}{}", schema.names());
    // The first line of each site.
    let mut starts = Vec::new();
    for site in sites {
        starts.push(code.lines().count() + 1);
        code += &site.code;
        code.push('\n');
    }
    package.write("src/lib.rs", &code);

    let check = package.check(&["--message-format", "json"]);
    let output = String::from_utf8(check.stdout).unwrap();
    let messages = output.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let message = line.get("message")?.clone();
        (message["level"] == "error").then_some(message)
    });
    let mut errors: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for message in messages {
        let text = message["message"].as_str().unwrap().to_owned();
        let spans = message["spans"].as_array().unwrap();
        let Some(mut span) = spans.iter().find(|span| span["is_primary"] == true) else {
            assert!(text.starts_with("aborting due to"), "{message}");
            continue;
        };
        // A panic is located within the macros of `core` that the site expands to.
        while span["file_name"] != "src/lib.rs" {
            span = &span["expansion"]["span"];
            assert!(!span.is_null(), "{message}");
        }
        let line = usize::try_from(span["line_start"].as_u64().unwrap()).unwrap();
        let site = starts.partition_point(|start| *start <= line) - 1;
        errors.entry(site).or_default().push(text);
    }
    let messages = String::from_utf8_lossy(&check.stderr);
    assert!(!errors.is_empty(), "{messages}");
    errors
}

const HEAD: &str = "#![allow(dead_code)]
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::time::{Duration, UNIX_EPOCH};
use atlasent::{Action, Error, PolicyRecord, protect};
use atlasent::schema::unchecked_policy;
use serde::Serialize;
use serde_json::json;
";
