//! The keys of the action that a constant names.

use atlasent::{Action, Error, protect};

const DEPLOY: &str = "deploy.production";
const RECORDS: &str = "records";

#[protect(action = DEPLOY, agent = "bot", context = { comit: commit, replicas: 3 })]
fn misspelt(commit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = DEPLOY, agent = "bot", context = { commit })]
fn missing(commit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = DEPLOY, agent = "bot")]
fn all() -> Result<(), Error> {
    Ok(())
}

#[protect(action = RECORDS, agent = "bot", context = { client, clients: [client], colour: "pink" })]
fn id(client: &str) -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action(DEPLOY)]
struct Deploy {
    commit: String,
    replicas: u32,
    colour: String,
}

fn main() {}
