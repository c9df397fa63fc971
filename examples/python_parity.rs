//! The steps of the Python SDK's README: protect, errors, the permit's fields, evaluate (as data,
//! and raising), verify, gate and authorize.
//!
//! ```text
//! cargo run --example python_parity                               # an embedded authority
//! ATLASENT_API_KEY=ask_test_… cargo run --example python_parity   # the hosted service
//! ATLASENT_API_KEY=ask_test_… ATLASENT_BASE_URL=http://localhost:8080 cargo run --example python_parity
//! ```
#![allow(clippy::print_stdout, reason = "it prints what happens")]

use std::env;
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;

use atlasent::authority::{DynAuthority, default_authority};
use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Action, Agent, AnyAction, Authority, AuthorityExt, Client, Error, Permit, protect};
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::json;

/// Deploys a commit, as the default authority decides. `configure` sets that authority.
#[protect(
    action = "deploy.production",
    agent = agent,
    context = { commit, replicas, "environment": "production" },
    request = |r| r.state_snapshot(json!({"source": "python_parity", "complete": true})),
)]
async fn deploy(agent: &str, commit: &str, replicas: u32, permit: Permit) -> Result<(), Error> {
    println!("   {commit} goes to {replicas} replicas");
    println!("   id         {permit:?}");
    println!("   audit hash {}", permit.audit_hash().unwrap_or("none"));
    println!("   reason     {}", permit.reason().unwrap_or("none"));
    println!(
        "   verified   {}",
        permit.timestamp().unwrap_or("at an unknown time")
    );
    // Uses the permit up, so that it cannot be used twice.
    println!("   action     {}\n", permit.into_action().name());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    configure()?;

    println!("protect: the body runs only with a permit.");
    for (agent, replicas) in [("deploy-bot", 12), ("intern-bot", 12), ("deploy-bot", 500)] {
        println!("{agent}, {replicas} replicas:");
        if let Err(error) = deploy(agent, "4f2a9c1", replicas).await {
            print_error(&error);
        }
    }
    lower_level(&default_authority()?).await?;
    Ok(())
}

/// Sets the default authority: the service that the environment names, else an embedded one.
fn configure() -> Result<(), Box<dyn StdError>> {
    let named = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    if named("ATLASENT_API_KEY") || named("ATLASENT_BASE_URL") {
        println!("The authority is the service that the environment names.\n");
        atlasent::configure(Client::from_env()?)?;
        return Ok(());
    }
    println!(
        "No ATLASENT_API_KEY: the authority is embedded, with the policies of the examples.\n"
    );
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atlasent-cli/policies");
    atlasent::configure(LocalAuthority::in_memory(Policies::from_dir(policies)?)?)?;
    Ok(())
}

/// Prints an error. `Denied` is Python's `AtlaSentDeniedError`, `Failed` its `AtlaSentError`.
fn print_error(error: &Error) {
    match error {
        Error::Denied(denied) => println!(
            "   {}: {} (code {}, evaluation {})\n",
            denied.decision(),
            denied.reason(),
            denied.code().unwrap_or("none"),
            denied.evaluation_id().unwrap_or("none"),
        ),
        Error::Failed(failure) => println!(
            "   {}: {} (status {:?}, request {:?})\n",
            failure.code(),
            failure.message(),
            failure.status(),
            failure.request_id(),
        ),
        other => println!("   {other}\n"),
    }
}

/// Makes the calls that `protect` consists of.
async fn lower_level(authority: &Arc<dyn DynAuthority>) -> Result<(), Error> {
    let action = AnyAction::new("deploy.production")?
        .with_field("commit", "4f2a9c1")?
        .with_field("environment", "production")?
        .with_field("replicas", &3)?;
    let agent = Agent::new("deploy-bot")?;

    let request = EvaluateRequest::new(agent.clone(), &action)?;
    let evaluation = authority.evaluate(&request).await?;
    println!("evaluate:  {}", evaluation.decision);

    if let Some(token) = evaluation.permit_token {
        let verify = VerifyRequest::restating(&request, token);
        for time in ["once", "twice"] {
            let verification = authority.verify(&verify).await?;
            println!("verify:    {} ({time})", verification.valid);
        }
    }

    // `require_allow` is Python's `evaluate`, which raises on a refusal.
    let refused = EvaluateRequest::new(Agent::new("intern-bot")?, &action)?;
    match authority.require_allow(&refused).await {
        Ok(allow) => println!("require_allow: until {:?}", allow.expires_at),
        Err(error) => print_error(&error),
    }

    match authority.gate(&agent, action.clone()).await {
        Ok(gate) => println!(
            "gate:      {}, {}",
            gate.evaluation.decision, gate.verification.valid
        ),
        Err(error) => print_error(&error),
    }
    let outcome = authority.authorize("intern-bot", action).await?;
    println!("authorize: {}", outcome.permitted());
    Ok(())
}
