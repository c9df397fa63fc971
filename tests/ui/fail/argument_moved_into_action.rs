//! What moved into a typed action is read from the permit.

use atlasent::{Action, Error, protect};

#[derive(Action)]
#[action("drop_table")]
struct DropTable {
    table: String,
}

#[protect(action = DropTable { table }, agent = "bot")]
async fn drop_table(table: String) -> Result<usize, Error> {
    Ok(table.len())
}

fn main() {}
