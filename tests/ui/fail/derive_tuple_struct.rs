//! A field's name is its key in the context.

use atlasent::Action;

#[derive(Action)]
#[action("transfer")]
struct Transfer(u64, String);

fn main() {}
