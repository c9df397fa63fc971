//! One permit is for one execution.

use atlasent::Permit;

fn deploy(_permit: Permit) {}

fn twice(permit: Permit) {
    deploy(permit);
    deploy(permit);
}

fn main() {}
