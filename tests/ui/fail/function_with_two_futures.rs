//! It shows in the body what runs with the permit and what without.

use std::pin::Pin;

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot")]
fn deploy() -> Pin<Box<dyn Future<Output = Result<(), Error>>>> {
    println!("deploying");
    Box::pin(async move { Ok(()) })
}

fn main() {}
