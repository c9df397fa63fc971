//! A permit has not the layout of its record.

use atlasent::permit::PermitRecord;
use atlasent::{Action, Permit};

#[derive(Action)]
#[action("drop_table")]
struct DropTable;

fn forge(record: PermitRecord) -> Permit<DropTable> {
    unsafe { std::mem::transmute(record) }
}

fn main() {}
