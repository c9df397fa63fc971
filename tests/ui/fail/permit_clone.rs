//! A permit cannot be copied.

use atlasent::{Action, Permit};

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

fn typed(permit: Permit<DropTable>) -> (Permit<DropTable>, Permit<DropTable>) {
    (Clone::clone(&permit), permit)
}

/// This clones the action, which the permit derefs to.
fn any(permit: Permit) -> (Permit, Permit) {
    (permit.clone(), permit)
}

fn main() {}
