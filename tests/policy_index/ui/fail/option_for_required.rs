use atlasent::{Error, protect};

#[protect(action = "deploy.production", agent = "bot", context = { commit, replicas: 3.5, tags: ["a", "b"] })]
fn deploy(commit: Option<String>) -> Result<(), Error> {
    Ok(())
}

fn main() {}
