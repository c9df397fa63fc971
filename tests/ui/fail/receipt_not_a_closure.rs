//! `receipt` is a closure with one parameter, which returns text or bytes and captures nothing.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", receipt = "id")]
async fn value() -> Result<String, Error> {
    Ok(String::new())
}

#[protect(action = "deploy", agent = "bot", receipt = |a, b| a)]
async fn two_parameters() -> Result<String, Error> {
    Ok(String::new())
}

fn main() {}
