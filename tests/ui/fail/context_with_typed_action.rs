//! A typed action brings its own context and resource.

use atlasent::{Action, Error, protect};

#[derive(Action)]
#[action("drop_table")]
struct DropTable {
    table: String,
}

#[protect(action = DropTable { table }, agent = "bot", context = { reason }, resource = "db-7")]
async fn drop_table(table: String, reason: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
