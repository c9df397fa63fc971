//! An action is done to one thing.

use atlasent::Action;

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    #[action(resource)]
    from: String,
    #[action(resource)]
    to: String,
}

fn main() {}
