//! An open method needs a reason.

use atlasent::boundary;

struct Bank;

#[boundary]
impl Bank {
    #[open]
    pub fn name(&self) {}

    #[open("")]
    pub fn branch(&self) {}

    #[open("  ")]
    pub fn city(&self) {}

    #[open(reason = "reads")]
    pub fn country(&self) {}

    #[open("reads")]
    #[open("reads a name")]
    pub fn street(&self) {}
}

fn main() {
    Bank.name();
    Bank.branch();
    Bank.city();
    Bank.country();
    Bank.street();
}
