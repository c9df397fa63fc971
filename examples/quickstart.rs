//! Six requests to an embedded authority, and their audit trail.
//!
//! ```text
//! cargo run --example quickstart                                  # runs; writes quickstart.trail.json
//! cargo run --example quickstart -- check quickstart.trail.json   # is the exported trail intact?
//! ```
#![allow(clippy::print_stdout, reason = "it prints what happens")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use ati_client::{Claims, Orchestrator, Sandbox, SigningKey, Verifier};
use atlasent::audit::{BundleVerifier, ChainReport, TrustedKeys};
use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Action, Agent, AnyAction, Authority, Permit, protect};
use atlasent_authority::{LocalAuthority, Policies};
use uuid::Uuid;

/// An action that policies know as `modify_patient_record`. Its permit carries its values.
#[derive(Action)]
#[action("modify_patient_record")]
struct ModifyPatientRecord {
    #[action(resource)]
    patient_id: String,
    change_reason: String,
}

/// Deploys a commit. The attribute obtains a permit before the body runs. The agent is the `sub` of
/// the token, which has to grant the tool.
#[protect(
    action = "deploy.production",
    agent = claims.sub(),
    context = { commit, replicas },
    authority = authority,
    scope = "tool:deploy",
    claims = claims,
)]
async fn deploy(
    authority: &LocalAuthority,
    claims: &Claims,
    commit: &str,
    replicas: u32,
    permit: Permit,
) -> Result<Permit, atlasent::Error> {
    println!("   the body runs: {commit} goes to {replicas} replicas");
    Ok(permit)
}

/// Changes a record. It needs no attribute, because callers need a permit for exactly this action.
fn modify(permit: Permit<ModifyPatientRecord>) {
    let ModifyPatientRecord {
        patient_id,
        change_reason,
    } = permit.into_action();
    println!("   the body runs: {patient_id} is changed, because of {change_reason}");
}

#[protect(action = ModifyPatientRecord { patient_id, change_reason }, agent = "chart-bot", authority = authority)]
async fn modify_as_chart_bot(
    authority: &LocalAuthority,
    patient_id: String,
    change_reason: String,
    permit: Permit<ModifyPatientRecord>,
) -> Result<(), atlasent::Error> {
    // The arguments moved into the action that was decided on. The permit gives them back.
    modify(permit);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run().await,
        ["check", file] => check(Path::new(file)),
        _ => Err("usage: quickstart [check FILE]".into()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atlasent-cli/policies");
    let authority = LocalAuthority::in_memory(Policies::from_dir(policies)?)?;

    let tokens = Tokens::new()?;
    let deploy_bot = tokens.claims("deploy-bot", "deploy")?;

    println!(
        "1. deploy-bot deploys to production. Its token grants the tool, the policies allow it."
    );
    let permit = deploy(&authority, &deploy_bot, "4f2a9c1", 12).await?;
    println!("   {permit:?}\n");

    println!("2. intern-bot has such a token, too. No policy permits it.");
    let intern_bot = tokens.claims("intern-bot", "deploy")?;
    refused(deploy(&authority, &intern_bot, "4f2a9c1", 12).await);

    println!("3. search-bot's token is for another tool. The authority is not asked.");
    let search_bot = tokens.claims("search-bot", "search")?;
    refused(deploy(&authority, &search_bot, "4f2a9c1", 12).await);

    println!("4. deploy-bot wants 500 replicas at once. A person has to agree first.");
    refused(deploy(&authority, &deploy_bot, "4f2a9c1", 500).await);

    println!("5. A permit token is presented twice.");
    let action = AnyAction::new("deploy.production")?
        .with_field("commit", "4f2a9c1")?
        .with_field("replicas", &3)?;
    let request = EvaluateRequest::new(Agent::new("deploy-bot")?, &action)?;
    let evaluation = authority.evaluate(&request).await?;
    let token = evaluation.permit_token.ok_or("an allow has a token")?;
    let verify = VerifyRequest::restating(&request, token);
    println!("   valid: {}", authority.verify(&verify).await?.valid);
    let verification = authority.verify(&verify).await?;
    println!(
        "   valid: {}, because {}\n",
        verification.valid,
        verification.reason.unwrap_or_default()
    );

    println!("6. chart-bot changes a patient's record: a typed action, with a typed permit.");
    modify_as_chart_bot(&authority, "patient-7".into(), "new allergy".into()).await?;
    println!("   And the record of a protected person:");
    refused(modify_as_chart_bot(&authority, "patient-1".into(), "curiosity".into()).await);

    println!("The audit trail. The hash of each event covers the event before it:");
    let trail = authority.trail().await?;
    println!("{}", atlasent_examples::table(&trail));
    report(&trail.verify())?;

    let file = Path::new("quickstart.trail.json");
    fs::write(file, serde_json::to_string_pretty(&trail)?)?;
    println!(
        "\nThe trail is in {}. Change an event in it, and check the trail:",
        file.display()
    );
    println!(
        "  cargo run --example quickstart -- check {}",
        file.display()
    );
    Ok(())
}

/// An orchestrator, which issues the agents' tokens, and the verifier of a service. Both know the
/// secret.
struct Tokens {
    orchestrator: Orchestrator,
    verifier: Verifier,
}

impl Tokens {
    fn new() -> Result<Self, ati_client::Error> {
        // A new secret for each run. A service reads `ATI_JWT_SECRET`.
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let key = SigningKey::from_hex(&secret)?;
        Ok(Self {
            verifier: Verifier::builder(key.verifying_key()).build()?,
            orchestrator: Orchestrator::new("https://ati.example.com", key)?,
        })
    }

    /// Issues a token for one tool, and returns its claims as the service verifies them.
    fn claims(&self, agent: &str, tool: &str) -> Result<Claims, ati_client::Error> {
        let sandbox = Sandbox::new(agent).tool(tool);
        let variables = self.orchestrator.provision_sandbox(&sandbox)?;
        self.verifier.verify(variables.token())
    }
}

fn refused<T>(result: Result<T, atlasent::Error>) {
    match result {
        Ok(_) => println!("   the body ran\n"),
        Err(refusal) => println!("   the body did not run: {refusal}\n"),
    }
}

fn check(file: &Path) -> Result<(), Box<dyn Error>> {
    report(
        &BundleVerifier::new(&TrustedKeys::new())
            .verify_path(file)?
            .chain,
    )
}

fn report(report: &ChainReport) -> Result<(), Box<dyn Error>> {
    if report.is_intact() {
        println!("{} events, all of them unchanged.", report.events);
        return Ok(());
    }
    for finding in &report.findings {
        println!("  {finding}");
    }
    Err("the trail was tampered with".into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_action_is_checked_against_the_policies() {
        for site in atlasent::sites() {
            // A typed action is checked where it is derived.
            let is_typed = site.function().is_some() && site.type_name().is_some();
            assert!(site.is_checked() || is_typed, "{site:?}");
        }
    }
}
