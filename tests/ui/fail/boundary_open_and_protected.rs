//! A method is one or the other.

use atlasent::{Error, boundary, protect};

struct Bank;

#[boundary]
impl Bank {
    #[open("reads")]
    #[protect(action = "pay", agent = "teller")]
    pub fn pay(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {
    let _ = Bank.pay();
}
