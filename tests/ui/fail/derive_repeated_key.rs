//! Which of the two would a policy read?

use atlasent::Action;

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    amount: u64,
    #[action(rename = "amount")]
    fee: u64,
}

fn main() {}
