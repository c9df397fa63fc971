//! `#[permit]` only says which parameter receives the permit.

use atlasent::{Error, Permit, protect};

#[protect(action = "deploy", agent = "bot")]
async fn deploy(#[permit("deploy")] permit: Permit) -> Result<(), Error> {
    Ok(())
}

fn main() {}
