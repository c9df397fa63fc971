//! A new public method without protection.

use atlasent::testing::MockAuthority;
use atlasent::{Error, boundary, protect};

struct Bank {
    authority: MockAuthority,
}

#[boundary(authority = self.authority, agent = "teller")]
impl Bank {
    #[protect(action = "pay", context = { amount })]
    pub fn pay(&self, amount: u64) -> Result<u64, Error> {
        Ok(amount)
    }

    pub fn refund(&self, amount: u64) -> Result<u64, Error> {
        Ok(amount)
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.helper()
    }

    fn helper(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {
    let bank = Bank {
        authority: MockAuthority::new(),
    };
    let _ = bank.pay(1);
    let _ = bank.refund(1);
    drop(bank.close());
}
