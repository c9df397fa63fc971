//! A refusal has to be returned somehow.

use atlasent::protect;

#[protect(action = "deploy", agent = "bot")]
async fn nothing() {}

#[protect(action = "deploy", agent = "bot")]
fn unit() -> () {}

#[protect(action = "deploy", agent = "bot")]
async fn option(commit: &str) -> Option<String> {
    Some(commit.to_owned())
}

#[protect(action = "deploy", agent = "bot")]
fn option_sync(commit: &str) -> Option<&str> {
    Some(commit)
}

fn main() {}
