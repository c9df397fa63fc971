//! A crate that is not where the attribute says is one error for each.

use atlasent::{Action, Error, Permit, protect};

#[protect(
    action = "deploy",
    agent = "bot",
    context = { commit, length: commit.len() },
    resource = commit,
    request = |r| r.explain(true),
    crate = nowhere::atlasent,
)]
async fn asynchronous(commit: &str, permit: Permit) -> Result<usize, Error> {
    Ok(permit.agent().as_str().len() + commit.len())
}

#[protect(action = Transfer { account: 7, amount }, agent = "bot", crate = crate::facade)]
fn synchronous(amount: u64, permit: Permit<Transfer<u8>>) -> Result<u64, Error> {
    Ok(permit.amount)
}

#[derive(Action)]
#[action("transfer")]
struct Transfer<T> {
    #[action(resource)]
    account: T,
    amount: u64,
}

#[derive(Action)]
#[action("flush", crate = nowhere)]
struct Flush<T> {
    #[action(resource)]
    table: T,
    rows: u64,
}

#[protect(action = "deploy", agent = "bot", crate = "atlasent")]
fn quoted() -> Result<(), Error> {
    Ok(())
}

mod facade {}

fn main() {
    let _ = (asynchronous("4f2a"), synchronous(5));
}
