//! A type of another crate that is called `Permit`.

use atlasent::boundary;

pub struct Permit<T>(T);

struct Bank;

#[boundary]
impl Bank {
    pub fn pay(&self, permit: Permit<u8>) {
        drop(permit);
    }
}

#[boundary]
trait Shop<T> {
    fn sell<U: Clone>(&self, price: U, permit: Permit<Vec<T>>);
}

fn main() {
    Bank.pay(Permit(1));
}
