//! Code that fits the policies of this package: it compiles, and the authority accepts it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use atlasent::schema::{self, PolicyValue, unchecked_policy};
use atlasent::{Action, Authority, Error, Permit, PolicyRecord, protect};
use serde::Serialize;
use serde_json::json;

/// A type that says which type of a schema it fits.
#[derive(Debug, Serialize)]
pub struct Replicas(pub u32);

impl PolicyValue<schema::LongType> for Replicas {}

/// A record of two actions.
#[derive(Debug, Serialize, PolicyRecord)]
#[record("types.required", "client")]
#[record("types.optional", "client")]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
}

/// A record with a record inside.
#[derive(Debug, Serialize, PolicyRecord)]
#[record("records", "client")]
pub struct Visitor<'a, G> {
    /// Its address.
    #[serde(rename = "ip")]
    pub address: &'a str,
    /// Its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo: Option<G>,
    /// Not in the context.
    #[serde(skip)]
    pub note: String,
}

/// The record inside.
#[derive(Debug, Serialize, PolicyRecord)]
#[record("records", "client", "geo")]
#[serde(rename_all = "camelCase")]
pub struct Geo {
    /// The latitude.
    pub lat: f64,
    /// Labels.
    #[serde(rename = "the tags")]
    pub tags: Vec<String>,
}

/// A record in a set.
#[derive(Debug, Serialize, PolicyRecord)]
#[record("records", "clients")]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: Option<u16>,
}

/// The names of actions.
pub mod names {
    /// Rolls a commit out.
    pub const DEPLOY: &str = "deploy.production";
    /// Has the keys of `DEPLOY`, and another type of one.
    pub const CANARY: &str = "deploy.canary";
    /// Takes nothing.
    pub const LOOK: &str = "look";
    /// Is not in the schema.
    pub const UNDECLARED: &str = "undeclared";
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
        within: unchecked_policy(json!("-5s")),
        counts: [1_u8],
        nested: &[vec!["a"]][..],
        team: "blue",
        teams: Vec::<String>::new(),
        client: unchecked_policy(json!({"ip": "::1"})),
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

impl Deploy<u8> {
    /// One that is the same for all.
    pub const NONE: Self = Self {
        commit: String::new(),
        count: 0,
        tags: None,
        note: String::new(),
    };
}

/// A constant names the action.
#[protect(
    action = names::DEPLOY,
    agent = "bot",
    authority = authority,
    context = { commit: "4f2a", replicas, tags: ["a"] },
)]
pub fn constant(authority: &impl Authority, replicas: u8) -> Result<(), Error> {
    Ok(())
}

/// A constant whose action declares another type of a key.
#[protect(
    action = names::CANARY,
    agent = "bot",
    authority = authority,
    context = { commit: "4f2a", replicas },
)]
pub fn other_type(authority: &impl Authority, replicas: Option<&str>) -> Result<(), Error> {
    Ok(())
}

/// A constant without a context.
#[protect(action = names::LOOK, agent = "bot", authority = authority)]
pub fn constant_alone(authority: &impl Authority, permit: Permit) -> Result<String, Error> {
    Ok(permit.into_action().name().to_owned())
}

/// A constant that is an action.
#[protect(action = Deploy::<u8>::NONE, agent = "bot", authority = authority)]
pub fn generic_constant(authority: &impl Authority) -> Result<(), Error> {
    Ok(())
}

/// A constant that is an action, whose path looks like that of a name.
#[protect(action = Look::NONE, agent = "bot", authority = authority)]
pub fn typed_constant(authority: &impl Authority, permit: Permit<Look>) -> Result<Look, Error> {
    Ok(permit.into_action())
}

/// A constant names a typed action.
#[derive(Action, Debug)]
#[action(names::LOOK)]
pub struct Look;

impl Look {
    /// One that is the same for all.
    pub const NONE: Self = Self;
}

/// A constant names a typed action with fields.
#[derive(Action, Debug)]
#[action(names::CANARY)]
pub struct Stage<C> {
    /// Which commit.
    pub commit: C,
    /// How many, in words.
    pub replicas: Option<&'static str>,
}

/// Records and ids.
#[protect(
    action = "records",
    agent = "bot",
    authority = authority,
    context = {
        client: Visitor { address: "::1", geo, note: String::new() },
        clients: &[Peer { ip: LOCALHOST, port: Some(80) }],
        colour: "dark blue",
        colours: Some(["red", colour]),
    },
)]
pub fn records(authority: &impl Authority, geo: Option<Geo>, colour: &str) -> Result<(), Error> {
    Ok(())
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

/// A constant that the schema does not declare.
#[protect(action = names::UNDECLARED, agent = "bot", authority = authority, unchecked_policy)]
pub fn unchecked_constant(authority: &impl Authority) -> Result<(), Error> {
    Ok(())
}

/// A field whose type is not checked.
#[derive(Action, Debug)]
#[action("deploy.production")]
pub struct Untyped {
    /// Which commit.
    pub commit: String,
    /// How many.
    #[action(unchecked_policy)]
    pub replicas: serde_json::Value,
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
