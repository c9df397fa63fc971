//! A resource has a name.

use atlasent::Action;

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    #[action(resource)]
    accounts: Vec<String>,
}

fn main() {}
