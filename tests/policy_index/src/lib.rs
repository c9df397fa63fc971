//! Code that fits the policies of this package: it compiles, and the authority accepts it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use atlasent::schema::{self, PolicyValue};
use atlasent::{Action, Authority, Error, protect};
use serde::Serialize;
use serde_json::json;

/// A type that says which type of a schema it fits.
#[derive(Debug, Serialize)]
pub struct Replicas(pub u32);

impl PolicyValue<schema::LongType> for Replicas {}

/// A record.
#[derive(Debug, Serialize)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A literal action, with a key for each type.
#[protect(
    action = "types.required",
    agent = "bot",
    authority = authority,
    context = {
        flag: true,
        count: 3,
        name: "n",
        price: 19.99,
        address: LOCALHOST,
        at: "2026-01-31T12:00:00Z",
        within: String::from("1h30m"),
        counts: vec![1, 2],
        nested: [["a"], ["b"]],
        team: Cow::Borrowed("blue"),
        teams: &BTreeSet::from(["red"]),
        client: Client { ip: LOCALHOST },
    },
)]
pub fn required(authority: &impl Authority) -> Result<(), Error> {
    Ok(())
}

/// Other values of the same types.
#[protect(
    action = "types.required",
    agent = "bot",
    authority = authority,
    context = {
        flag: &&false,
        count: Replicas(3),
        name: 'n',
        price: "19.99",
        address: "10.0.0.0/8",
        at: Box::from("2026-01-31") as Box<str>,
        within: json!("-5s"),
        counts: json!([1]),
        nested: &[vec!["a"]][..],
        team: "blue",
        teams: Vec::<String>::new(),
        client: json!({"ip": "::1"}),
    },
)]
pub fn required_in_other_ways(authority: &impl Authority) -> Result<(), Error> {
    Ok(())
}

/// Optional keys, present, absent and left out.
#[protect(
    action = "types.optional",
    agent = "bot",
    authority = authority,
    context = {
        flag: Some(true),
        count: note.map(str::len),
        name: note,
        price: 7,
        address: None::<IpAddr>,
        at: &None::<String>,
        counts: Some(&counts),
        client: Some(Client { ip: LOCALHOST }),
        "odd {key}": 5_u8,
    },
)]
pub fn optional(
    authority: &impl Authority,
    note: Option<&str>,
    counts: Vec<i8>,
) -> Result<(), Error> {
    Ok(())
}

/// A typed action.
#[derive(Action, Debug)]
#[action("deploy.production")]
pub struct Deploy<R> {
    /// Which commit.
    pub commit: String,
    /// How many.
    #[action(rename = "replicas")]
    pub count: R,
    /// Labels.
    pub tags: Option<Vec<String>>,
    /// Not in the context.
    #[action(skip)]
    pub note: String,
}

/// The environment is a field of the request, which policies read as a key.
#[protect(
    action = "fields",
    agent = "bot",
    authority = authority,
    request = |request| request.environment("production"),
)]
pub fn fields(authority: &impl Authority) -> Result<(), Error> {
    Ok(())
}

/// A context whose keys only a run knows.
#[protect(action = "look", agent = "bot", authority = authority, context = context)]
pub fn computed(authority: &impl Authority, context: &serde_json::Value) -> Result<(), Error> {
    Ok(())
}

/// An action that the schema does not declare.
#[protect(action = "undeclared", agent = "bot", authority = authority, unchecked_policy)]
pub fn unchecked(authority: &impl Authority) -> Result<(), Error> {
    Ok(())
}

/// A typed action that the schema does not declare.
#[derive(Action, Debug)]
#[action("undeclared.too", unchecked_policy)]
pub struct Undeclared {
    /// A key that nothing declares.
    pub anything: u8,
}

/// The examples of the guide, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/policy-checks.md")]
struct Guide;
