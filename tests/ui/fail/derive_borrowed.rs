//! A permit outlives the call that asked for it, and so does its action.

use atlasent::{Action, Permit};

#[derive(Action)]
#[action("transfer")]
struct Transfer<'a> {
    account: &'a str,
}

fn transfer(_permit: Permit<Transfer<'static>>) {}

fn main() {
    let _ = transfer;
}
