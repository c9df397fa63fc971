//! What is wrong with a body's syntax is said once, and by the compiler.

use std::pin::Pin;

use atlasent::{Error, protect};

#[protect(action = "deploy", agent = "bot")]
fn in_the_future(claims: String) -> Pin<Box<dyn Future<Output = Result<String, Error>>>> {
    Box::pin(async move { Ok(claims.) })
}

#[protect(action = "deploy", agent = "bot")]
fn before_the_future(claims: String) -> Pin<Box<dyn Future<Output = Result<String, Error>>>> {
    let sub = claims.;
    Box::pin(async move { Ok(sub) })
}

#[protect(action = "deploy", agent = "bot")]
fn implied(claims: String) -> impl Future<Output = Result<String, Error>> {
    let = claims;
    async move { Ok(String::new()) }
}

#[protect(action = "deploy", agent = "bot")]
async fn asynchronous(claims: String) -> Result<String, Error> {
    Ok(claims.)
}

fn main() {}
