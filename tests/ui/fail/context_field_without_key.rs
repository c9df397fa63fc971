//! Only a plain name is its own key.

use atlasent::{Error, protect};

struct User {
    name: String,
}

#[protect(action = "deploy", agent = "bot", context = { user.name })]
async fn place(user: &User) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot", context = { "commit" })]
async fn key_only() -> Result<(), Error> {
    Ok(())
}

fn main() {}
