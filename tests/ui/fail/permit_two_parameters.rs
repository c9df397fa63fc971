//! A call obtains one permit.

use atlasent::{Action, Error, Permit, protect};

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

#[protect(action = "deploy", agent = "bot")]
async fn by_type(first: Permit, second: Permit<DropTable>) -> Result<(), Error> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot")]
async fn by_mark(#[permit] first: Permit, #[permit] second: Permit) -> Result<(), Error> {
    Ok(())
}

fn main() {}
