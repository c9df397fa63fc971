//! What was written down of a permit never becomes a permit again.

use atlasent::permit::PermitRecord;
use atlasent::Permit;

fn from(record: PermitRecord) -> Permit {
    <Permit as From<PermitRecord>>::from(record)
}

fn into(record: PermitRecord) -> Permit {
    record.into()
}

fn main() {}
