//! The name of an action is for people who write policies, so it is not taken from the struct's.

use atlasent::Action;

#[derive(Action)]
struct Transfer {
    amount: u64,
}

#[derive(Action)]
#[action]
struct Refund;

#[derive(Action)]
#[action = "withdraw"]
struct Withdraw;

fn main() {}
