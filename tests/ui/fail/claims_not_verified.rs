//! Unverified claims and other types do not grant a scope.

use ati_client::Unverified;
use atlasent::{Error, protect};

#[protect(action = "search", agent = "a", scope = "tool:search", claims = claims)]
async fn unverified(claims: Unverified) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "search", agent = "a", scope = "tool:search", claims = token)]
fn token(token: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
