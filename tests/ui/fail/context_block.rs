//! The braces of a context hold fields. A block that computes it stands in parentheses.

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot", context = { let q = 1; q })]
async fn with_let() -> Result<(), Error> {
    Ok(())
}

#[protect(
    action = "deploy",
    agent = "bot",
    context = {
        tally();
        fields
    },
)]
fn with_a_statement() -> Result<(), Error> {
    Ok(())
}

fn main() {}
