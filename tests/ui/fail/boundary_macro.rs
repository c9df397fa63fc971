//! A macro could expand to a method without protection.

use atlasent::boundary;

#[allow(unused_macros)]
macro_rules! method {
    () => {
        pub fn pay(&self) {}
    };
}

struct Bank;

#[boundary]
impl Bank {
    const NAME: &'static str = "bank";

    method!();
}

fn main() {
    println!("{}", Bank::NAME);
}
