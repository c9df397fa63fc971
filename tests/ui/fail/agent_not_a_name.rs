//! An agent is named by a string or an `Agent`.

use atlasent::{Error, protect};

struct User {
    name: Option<String>,
}

#[protect(action = "deploy", agent = 5)]
async fn number() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = user.name)]
fn option(user: &User) -> Result<(), Error> {
    Ok(())
}

fn main() {}
