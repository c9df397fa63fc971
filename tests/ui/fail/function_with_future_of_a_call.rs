//! A future under a name of one's own is protected where its body shows that it is one.

use std::pin::Pin;

use atlasent::{Error, protect};

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

fn inner() -> Answer<u8> {
    Box::pin(async move { Ok(1) })
}

#[protect(action = "deploy", agent = "bot")]
fn deploy() -> Answer<u8> {
    inner()
}

fn main() {}
