//! Policies read the context, so it can be written as JSON.

use atlasent::{Error, protect};

struct User {
    name: String,
}

#[protect(action = "deploy", agent = "bot", context = { commit, approver: user })]
async fn field(commit: &str, user: &User) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", context = user)]
fn whole(user: &User) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", context = { value })]
fn generic<T>(value: T) -> Result<(), Error> {
    Ok(())
}

fn main() {}
