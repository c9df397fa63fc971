//! Only the path through evaluate and verify mints.

use atlasent::permit::PermitRecord;
use atlasent::{AnyAction, Permit};

fn mint(action: AnyAction, record: PermitRecord) -> Permit {
    Permit::mint(action, record, None, None)
}

fn main() {}
