//! A type whose requests have one name cannot open what is guarded by another's.

use atlasent::{Action, NamedAction};

struct ReadTable;

impl Action for ReadTable {
    fn name(&self) -> &str {
        "read_table"
    }
}

impl NamedAction for ReadTable {
    const NAME: &'static str = "drop_table";
}

fn main() {}
