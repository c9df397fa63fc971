//! Only the path through evaluate and verify mints.

use atlasent::{AnyAction, Permit, PermitRecord};

fn mint(action: AnyAction, record: PermitRecord) -> Permit {
    Permit::mint(action, record, None)
}

fn main() {}
