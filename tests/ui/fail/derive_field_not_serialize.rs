//! Every field is context, and policies read the context as JSON.

use atlasent::Action;

struct Account;

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    amount: u64,
    account: Account,
}

fn main() {}
