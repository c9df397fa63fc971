//! Which of the two would a policy read?

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", context = { commit, "commit": "4f2a" })]
async fn deploy(commit: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
