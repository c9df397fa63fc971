//! The record that a struct names is one of the schema.

use atlasent::PolicyRecord;
use serde::Serialize;

#[derive(Serialize, PolicyRecord)]
#[record("recrods", "client")]
struct Action {
    ip: String,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "cleint")]
struct Key {
    ip: String,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "colour")]
struct NoRecord {
    ip: String,
}

#[derive(Serialize, PolicyRecord)]
#[record("records")]
struct NoKey {
    ip: String,
}

#[derive(Serialize, PolicyRecord)]
struct Nothing {
    ip: String,
}

fn main() {}
