//! The types of the values of the action that a constant names.

use atlasent::{Action, Error, protect};

const DEPLOY: &str = "deploy.production";
const STAGE: &str = "deploy.staging";

// Every action that has these keys declares a string.
#[protect(action = DEPLOY, agent = "bot", context = { commit: 5, replicas: 3 })]
fn one() -> Result<(), Error> {
    Ok(())
}

// `deploy.production` declares a number, and `deploy.staging` a string.
#[protect(action = DEPLOY, agent = "bot", context = { commit: "", replicas: "three" })]
fn text() -> Result<(), Error> {
    Ok(())
}

#[protect(action = STAGE, agent = "bot", context = { commit: "", replicas: 3 })]
fn number() -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action(STAGE)]
struct Stage {
    commit: String,
    replicas: u32,
}

fn main() {}
