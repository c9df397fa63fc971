//! The value of `action` is a name or implements `Action`.

use atlasent::{Error, protect};

struct Deploy;

#[protect(action = 5, agent = "bot")]
async fn number() -> Result<(), Error> {
    Ok(())
}

#[protect(action = Deploy, agent = "bot")]
async fn not_derived() -> Result<(), Error> {
    Ok(())
}

#[protect(action = name, agent = "bot")]
fn string(name: String) -> Result<(), Error> {
    Ok(())
}

fn main() {}
