//! What is guarded by one action opens to permits for that action only.

use atlasent::{Action, Guarded, Permit};

#[derive(Action)]
#[action("read_table")]
struct ReadTable;

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

struct Database;

fn typed(database: &Guarded<Database, DropTable>, permit: Permit<ReadTable>) {
    let _ = database.open(permit);
}

fn untyped(database: &Guarded<Database, DropTable>, permit: Permit) {
    let _ = database.open(permit);
}

fn main() {}
