//! `request` sets optional fields, and cannot set others.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", request = "production")]
async fn value() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", request = |r| r.actor_id("admin"))]
async fn other_field() -> Result<(), Error> {
    Ok(())
}

fn main() {}
