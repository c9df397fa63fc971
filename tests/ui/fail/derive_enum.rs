//! An action has one name.

use atlasent::{Action, Permit};

#[derive(Action)]
#[action("transfer")]
enum Transfer {
    Domestic,
    Abroad,
}

fn transfer(_permit: Permit<Transfer>) {}

fn main() {
    let _ = [Transfer::Domestic, Transfer::Abroad];
    let _ = transfer;
}
