//! An action's name has at most 256 characters.

use atlasent::{Action, Error, protect};

#[protect(
    action = "deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.\
              deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.\
              deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.\
              deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.",
    agent = "bot"
)]
async fn deploy() -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action(
    "deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.\
     deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.\
     deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.\
     deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy.deploy."
)]
struct Deploy;

fn main() {}
