//! With `all`, private methods belong to the boundary.

use atlasent::boundary;

struct Bank;

#[boundary(all)]
impl Bank {
    fn helper(&self) {}
}

fn main() {
    Bank.helper();
}
