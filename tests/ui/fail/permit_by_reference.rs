//! A call passes its permit by value: a reference or an `Option` may be a caller's permit.

use atlasent::{Error, Permit, protect};

#[protect(action = "deploy", agent = "bot")]
async fn by_reference(permit: &Permit) -> Result<String, Error> {
    Ok(permit.id().to_owned())
}

#[protect(action = "deploy", agent = "bot")]
fn perhaps(permit: Option<Permit>) -> Result<bool, Error> {
    Ok(permit.is_some())
}

#[protect(action = "deploy", agent = "bot")]
fn marked(#[permit] permit: &Permit) -> Result<String, Error> {
    Ok(permit.id().to_owned())
}

fn main() {}
