//! The errors of a body are where they were made.

use atlasent::{Error, Permit, protect};

#[protect(action = "deploy", agent = "bot")]
async fn asynchronous(permit: Permit) -> Result<u8, Error> {
    let number: u8 = "7";
    Ok(number)
}

#[protect(action = "deploy", agent = "bot")]
fn synchronous(text: &str, permit: Permit) -> Result<u8, Error> {
    let number: u8 = text;
    Ok(number)
}

#[protect(action = "deploy", agent = "bot")]
async fn unfinished() -> Result<u8, Error> {
    unknown();
}

fn main() {}
