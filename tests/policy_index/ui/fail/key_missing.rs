use atlasent::{Error, protect};

#[protect(action = "deploy.production", agent = "bot", context = { commit })]
fn one(commit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy.production", agent = "bot")]
fn all() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "fields", agent = "bot")]
fn no_environment() -> Result<(), Error> {
    Ok(())
}

fn main() {}
