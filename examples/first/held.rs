// The second program of the README, which pastes all that follows the next line.

use atlasent::{Client, Error, Permit, protect};

#[protect(action = "deploy.production", agent = "deploy-bot", context = { commit, replicas }, wait = "10m")]
async fn deploy(commit: &str, replicas: u32, permit: Permit) -> Result<(), Error> {
    println!("{} deploys {commit} to {replicas} replicas", permit.agent());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::builder().receipts(true).build()?; // address and key come from the environment
    atlasent::configure(client.clone())?;
    let deployed = deploy("4f2a9c1", 500).await;
    client.flush_receipts().await; // the trail learns how the call ended
    deployed
}
