//! An argument that does not exist.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", colour = "red")]
async fn deploy() -> Result<(), Error> {
    Ok(())
}

fn main() {}
