//! An argument is a key and a value.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent)]
async fn no_value(agent: &str) -> Result<(), Error> {
    Ok(())
}

#[protect("deploy", agent = "bot")]
async fn no_key() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy" agent = "bot")]
async fn no_comma() -> Result<(), Error> {
    Ok(())
}

fn main() {}
