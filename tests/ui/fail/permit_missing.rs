//! A function that takes a permit cannot be called without one.

use atlasent::Permit;

fn deploy(_commit: &str, _permit: Permit) {}

fn main() {
    deploy("4f2a");
}
