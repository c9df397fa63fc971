//! A slip of the pen, or a word from another SDK, gets the argument that was meant.

use atlasent::{Error, protect};

#[protect(actoin = "deploy", agent = "bot")]
async fn slip() -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", actor_id = "bot", ctx = { commit: "4f2a" })]
async fn other_words() -> Result<(), Error> {
    Ok(())
}

fn main() {}
