//! A constant names an action that the schema does not declare.

use atlasent::{Action, Error, protect};

mod names {
    pub const DEPLOY: &str = "deploy.prodcution";
    pub const COLOUR: &str = "colour";
    pub const EMPTY: &str = "";
    pub const NUMBER: u32 = 5;
}

#[protect(action = names::DEPLOY, agent = "bot", context = { commit, replicas: 3 })]
fn misspelt(commit: &str) -> Result<(), Error> {
    Ok(())
}

#[protect(action = names::COLOUR, agent = "bot")]
fn unrelated() -> Result<(), Error> {
    Ok(())
}

#[protect(action = names::EMPTY, agent = "bot", unchecked_policy)]
fn empty() -> Result<(), Error> {
    Ok(())
}

#[protect(action = names::NUMBER, agent = "bot")]
fn number() -> Result<(), Error> {
    Ok(())
}

#[protect(action = names::ABSENT, agent = "bot")]
fn absent() -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action(names::DEPLOY)]
struct Deploy {
    commit: String,
    replicas: u32,
}

fn main() {}
