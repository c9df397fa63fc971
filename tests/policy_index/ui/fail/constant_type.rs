//! The types of the values of the action that a constant names.

use atlasent::{Action, Error, protect};

const DEPLOY: &str = "deploy.production";
const CANARY: &str = "deploy.canary";

// Every action that has these keys declares a string.
#[protect(action = DEPLOY, agent = "bot", context = { commit: 5, replicas: 3 })]
fn one() -> Result<(), Error> {
    Ok(())
}

// `deploy.production` declares a number, and `deploy.canary` a string.
#[protect(action = DEPLOY, agent = "bot", context = { commit: "", replicas: "three" })]
fn text() -> Result<(), Error> {
    Ok(())
}

#[protect(action = CANARY, agent = "bot", context = { commit: "", replicas: 3 })]
fn number() -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action(CANARY)]
struct Stage {
    commit: String,
    replicas: u32,
}

fn main() {}
