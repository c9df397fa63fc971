//! A permit for one action does not fit another action.

use atlasent::{Action, Permit};

#[derive(Action)]
#[action("read_table")]
struct ReadTable;

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

fn drop_table(_permit: Permit<DropTable>) {}

fn typed(permit: Permit<ReadTable>) {
    drop_table(permit);
}

fn untyped(permit: Permit) {
    drop_table(permit);
}

fn main() {}
