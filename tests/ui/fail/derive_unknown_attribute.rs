//! What the attribute of a field can say.

use atlasent::Action;

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    #[action(resouce)]
    account: String,
    #[action(flatten)]
    details: Vec<String>,
    #[action(rename)]
    amount: u64,
    #[action(skip = true)]
    password: String,
}

fn main() {}
