//! Which of the two would it be?

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", agent = "admin")]
async fn deploy() -> Result<(), Error> {
    Ok(())
}

fn main() {}
