//! The function's error can hold a refusal.

use atlasent::protect;

#[derive(Debug)]
enum DeployError {
    Broken,
}

#[protect(action = "deploy", agent = "bot")]
async fn own() -> Result<(), DeployError> {
    Err(DeployError::Broken)
}

#[protect(action = "deploy", agent = "bot")]
fn io() -> std::io::Result<()> {
    Ok(())
}

#[protect(action = "deploy", agent = "bot")]
async fn generic<E>() -> Result<(), E> {
    Ok(())
}

fn main() {}
