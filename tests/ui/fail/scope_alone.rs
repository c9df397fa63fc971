//! A scope needs the claims that have to grant it.

use atlasent::{Error, protect};

#[protect(action = "search", agent = "a", scope = "tool:search")]
async fn whose() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "search", agent = "a", scope = "tool:a tool:b", claims = claims)]
async fn both(claims: ati_client::Claims) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "search", agent = "a", scope = "", claims = claims)]
async fn nothing(claims: ati_client::Claims) -> Result<(), Error> {
    Ok(())
}

fn main() {}
