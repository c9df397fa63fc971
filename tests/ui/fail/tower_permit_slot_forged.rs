//! A slot with a permit in it that nobody granted.

use atlasent::Permit;
use atlasent_tower::PermitSlot;

fn forge(permit: Permit) -> PermitSlot {
    PermitSlot::new(permit)
}

fn main() {}
