//! A derived action has its one name, and no second implementation gives it another.

use atlasent::{Action, NamedAction};

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

impl Action for DropTable {
    fn name(&self) -> &str {
        "read_table"
    }
}

#[derive(Action)]
#[action("erase_table")]
struct EraseTable;

impl NamedAction for EraseTable {
    const NAME: &'static str = "drop_table";
}

fn main() {}
