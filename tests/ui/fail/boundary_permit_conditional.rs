//! Callers would pass no permit when the condition is false.

use atlasent::{Action, Permit, boundary};

#[derive(Action)]
#[action("wire")]
struct Wire {
    amount: u64,
}

struct Bank;

#[boundary]
impl Bank {
    pub fn wire(&self, #[cfg(not(test))] permit: Permit<Wire>) {
        drop(permit);
    }

    pub fn refund(&self, #[cfg_attr(test, cfg(not(test)))] permit: Permit<Wire>) {
        drop(permit);
    }

    pub fn close(&self, #[cfg(test)] reason: &str, permit: Permit<Wire>) {
        drop(permit);
    }
}

#[boundary]
trait Ledger {
    fn post(&self, #[cfg(not(test))] permit: Permit<Wire>);
}

fn main() {}
