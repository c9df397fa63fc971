//! The permit's parameter has the type of the action that is asked for.

use atlasent::{Action, Error, Permit, protect};

#[derive(Action)]
#[action("drop_table")]
struct DropTable {
    table: String,
}

#[protect(action = "drop_table", agent = "bot")]
async fn untyped(permit: Permit<DropTable>) -> Result<(), Error> {
    Ok(())
}

#[protect(action = DropTable { table }, agent = "bot")]
async fn typed(table: String, permit: Permit) -> Result<(), Error> {
    Ok(())
}

fn main() {}
