//! A boundary has methods.

use atlasent::boundary;

#[boundary]
struct Bank {
    balance: u64,
}

#[boundary]
pub fn pay() {}

fn main() {}
