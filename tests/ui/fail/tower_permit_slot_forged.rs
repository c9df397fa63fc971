//! A slot cannot be filled with a permit by hand.

use atlasent::Permit;
use atlasent_tower::PermitSlot;

fn forge(permit: Permit) -> PermitSlot {
    PermitSlot::new(permit)
}

fn main() {}
