//! A missing `action` or `agent` argument.

use atlasent::{Error, protect};

#[protect(agent = "bot")]
async fn no_action() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy")]
async fn no_agent() -> Result<(), Error> {
    Ok(())
}

#[protect]
async fn neither() -> Result<(), Error> {
    Ok(())
}

fn main() {}
