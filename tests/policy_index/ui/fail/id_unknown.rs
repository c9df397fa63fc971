//! A literal id of an entity type that is an `enum` is one of its ids.

use atlasent::{Error, protect};

#[protect(
    action = "records",
    agent = "bot",
    context = {
        client: atlasent::schema::unchecked_policy(()),
        clients: atlasent::schema::unchecked_policy(()),
        colour: "rde",
        colours: Some(&["red", "pink"]),
    },
)]
fn ids() -> Result<(), Error> {
    Ok(())
}

// A resource is an entity of the type `Resource`.
#[protect(action = "look", agent = "bot", resource = "window")]
fn resource() -> Result<(), Error> {
    Ok(())
}

fn main() {}
