//! An action has a name.

use atlasent::{Action, Error, protect};

#[protect(action = "", agent = "bot")]
async fn deploy() -> Result<(), Error> {
    Ok(())
}

#[derive(Action)]
#[action("")]
struct Deploy;

fn main() {}
