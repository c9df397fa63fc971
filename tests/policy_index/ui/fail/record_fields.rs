//! The fields of a record are its keys in the schema.

use atlasent::PolicyRecord;
use serde::Serialize;

#[derive(Serialize, PolicyRecord)]
#[record("records", "clients")]
struct Misspelt {
    ip: String,
    prot: u16,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "clients")]
struct Incomplete {
    #[serde(rename = "port")]
    number: Option<u16>,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "clients")]
struct Mistyped<'a> {
    ip: u32,
    port: &'a str,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "client")]
struct Nested {
    ip: String,
    geo: Place,
}

#[derive(Serialize)]
struct Place {
    lat: f64,
}

#[derive(Serialize, PolicyRecord)]
#[record("types.required", "client")]
struct Absent {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "clients")]
struct Flat {
    #[serde(flatten)]
    rest: Place,
}

fn main() {}
