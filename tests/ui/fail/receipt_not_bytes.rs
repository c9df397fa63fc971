//! The closure of `receipt` returns text or bytes, and captures nothing.

use atlasent::{Error, protect};

struct Release {
    id: u64,
}

#[protect(action = "deploy", agent = "bot", receipt = |release| release.id)]
async fn number() -> Result<Release, Error> {
    Ok(Release { id: 41 })
}

#[protect(action = "deploy", agent = "bot", receipt = |_| commit)]
async fn captured(commit: String) -> Result<Release, Error> {
    drop(commit);
    Ok(Release { id: 41 })
}

fn main() {}
