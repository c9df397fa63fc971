//! The first program of the README, which pastes all that follows the next line.
#![allow(clippy::print_stdout, reason = "it shows what happens")]

use atlasent::{Error, Permit, protect};
use atlasent_authority::{LocalAuthority, Policies};

#[protect(action = "deploy.production", agent = "deploy-bot", context = { commit, replicas })]
async fn deploy(commit: &str, replicas: u32, permit: Permit) -> Result<(), Error> {
    println!("{} deploys {commit} to {replicas} replicas", permit.agent());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policies = Policies::from_dir("policies")?;
    atlasent::configure(LocalAuthority::in_memory(policies)?)?; // once, at start-up

    deploy("4f2a9c1", 3).await?;
    match deploy("4f2a9c1", 500).await {
        Err(Error::Denied(denied)) => println!("{}: {}", denied.decision(), denied.reason()),
        other => other?,
    }
    Ok(())
}
