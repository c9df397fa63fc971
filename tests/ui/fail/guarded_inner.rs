//! What is guarded cannot be reached around the permit.

use atlasent::{Action, Guarded};

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

struct Database;

impl Database {
    fn drop_table(&self) {}
}

fn field(database: Guarded<Database, DropTable>) {
    database.inner.drop_table();
}

fn method(database: Guarded<Database, DropTable>) {
    database.drop_table();
}

fn main() {}
