//! A foreign caller could not read a refusal.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot")]
extern "C" fn deploy() -> Result<(), Error> {
    Ok(())
}

fn main() {}
