use atlasent::{Error, protect};

#[protect(action = "deploy.production", agent = "bot", context = { comit, replicas: 3 })]
fn misspelt(comit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy.production", agent = "bot", context = { commit, replicas: 3, "colour": "red" })]
fn unrelated(commit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "look", agent = "bot", context = { commit })]
fn none(commit: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
