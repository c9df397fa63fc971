//! Without the feature, the body would be open.

use atlasent::{Error, boundary};

struct Bank;

#[boundary]
impl Bank {
    #[cfg_attr(not(test), protect(action = "pay", agent = "teller"))]
    pub fn pay(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {
    let _ = Bank.pay();
}
