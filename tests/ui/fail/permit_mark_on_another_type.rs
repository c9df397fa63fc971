//! `#[permit]` marks a parameter that is a permit.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot")]
async fn deploy(#[permit] commit: String) -> Result<(), Error> {
    drop(commit);
    Ok(())
}

#[protect(action = "deploy", agent = "bot")]
async fn by_reference(#[permit] permit: &atlasent::Permit) -> Result<(), Error> {
    drop(permit);
    Ok(())
}

fn main() {}
