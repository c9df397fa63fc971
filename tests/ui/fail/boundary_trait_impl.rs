//! Every method of the implementation of a trait can be called from elsewhere.

use atlasent::boundary;

struct Bank(u64);

#[boundary]
impl Drop for Bank {
    fn drop(&mut self) {
        self.0 = 0;
    }
}

fn main() {
    drop(Bank(1));
}
