//! What does not fit where the schema declares a record.

use atlasent::{Action, Error, PolicyRecord, protect};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Serialize)]
struct Underived {
    ip: String,
}

#[derive(Serialize, PolicyRecord)]
#[record("types.required", "client")]
struct Other {
    ip: String,
}

#[derive(Serialize, PolicyRecord)]
#[record("records", "clients")]
struct Generic<P> {
    ip: String,
    port: P,
}

#[protect(
    action = "records",
    agent = "bot",
    context = { client: json!({"ip": "::1"}), clients: [underived], colour: Value::Null },
)]
fn json(underived: Underived) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "records", agent = "bot", context = { client: other, clients: [generic], colour: "red" })]
fn other(other: Other, generic: Generic<String>) -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action("records")]
struct Records {
    client: Value,
    clients: Vec<Generic<u16>>,
    colour: String,
}

fn main() {}
