//! A caller cannot pass a permit to a protected function.

use atlasent::{Error, Permit, protect};

#[protect(action = "deploy", agent = "deploy-bot", context = { commit })]
async fn deploy(commit: &str, permit: Permit) -> Result<(), Error> {
    drop(permit);
    Ok(())
}

async fn caller(permit: Permit) -> Result<(), Error> {
    deploy("4f2a", permit).await
}

fn main() {}
