//! A wait that is not a time, that has no unit, and that is zero.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", wait = "10 minutes")]
async fn in_words() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", wait = 600)]
async fn without_a_unit() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", wait = "0s")]
fn zero() -> Result<(), Error> {
    Ok(())
}

fn main() {}
