use atlasent::{Error, protect};

#[protect(action = "deploy.production", agent = "bot", context = { commit, replicas: 1, "commit": "" })]
fn deploy(commit: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
