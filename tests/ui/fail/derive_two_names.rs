//! An action has one name.

use atlasent::Action;

#[derive(Action)]
#[action("transfer")]
#[action("send")]
struct Transfer;

fn main() {}
