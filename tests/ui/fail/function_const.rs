//! A `const fn` cannot ask.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot")]
const fn deploy() -> Result<(), Error> {
    Ok(())
}

fn main() {}
