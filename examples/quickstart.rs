//! Six requests to an authority inside this process, and the audit trail that they leave.
//!
//! ```text
//! cargo run --example quickstart                                  # the story; writes quickstart.trail.json
//! cargo run --example quickstart -- check quickstart.trail.json   # is the exported trail intact?
//! ```
#![allow(clippy::print_stdout, reason = "it tells a story")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use ati_client::{Claims, Orchestrator, Sandbox, SigningKey, Verifier};
use atlasent::audit::{BundleVerifier, ChainReport, TrustedKeys};
use atlasent::wire::{PermitToken, VerifyRequest};
use atlasent::{Action, Authority, Permit, protect};
use atlasent_authority::{LocalAuthority, Policies};
use uuid::Uuid;

/// An action that the policies know by name. Its permit carries its values.
#[derive(Action)]
#[action("modify_patient_record")]
struct ModifyPatientRecord {
    #[action(resource)]
    patient_id: String,
    change_reason: String,
}

/// Runs only with a permit: the attribute asks for one before the first line of the body. The agent is who its token says,
/// and the token has to grant the tool.
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

/// Nothing to annotate: without a permit for exactly this action, it cannot be called.
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
    // The arguments have moved into the action that was decided on; the permit gives them back.
    modify(permit);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => tell().await,
        ["check", file] => check(Path::new(file)),
        _ => Err("usage: quickstart [check FILE]".into()),
    }
}

async fn tell() -> Result<(), Box<dyn Error>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atlasent-cli/policies");
    let authority = LocalAuthority::in_memory(Policies::from_dir(policies)?)?;

    let tokens = Tokens::new()?;
    let deploy_bot = tokens.of("deploy-bot", "deploy")?;

    println!(
        "1. deploy-bot deploys to production. Its token grants the tool, the policies allow it."
    );
    let permit = deploy(&authority, &deploy_bot, "4f2a9c1", 12).await?;
    println!("   {permit:?}\n");

    println!("2. intern-bot has such a token, too. No policy permits it.");
    let intern_bot = tokens.of("intern-bot", "deploy")?;
    refused(deploy(&authority, &intern_bot, "4f2a9c1", 12).await);

    println!("3. search-bot's token is for another tool. The authority is not even asked.");
    let search_bot = tokens.of("search-bot", "search")?;
    refused(deploy(&authority, &search_bot, "4f2a9c1", 12).await);

    println!("4. deploy-bot wants 500 replicas at once. A person has to agree first.");
    refused(deploy(&authority, &deploy_bot, "4f2a9c1", 500).await);

    println!("5. Somebody noted the public id of step 1's permit, and presents it as a permit.");
    let forged = VerifyRequest::new(PermitToken::new(permit.id())?);
    let answer = authority.verify(&forged).await?;
    println!(
        "   valid: {}, because {}\n",
        answer.valid,
        answer.reason.unwrap_or_default()
    );

    println!("6. chart-bot changes a patient's record: a typed action, with a typed permit.");
    modify_as_chart_bot(&authority, "patient-7".into(), "new allergy".into()).await?;
    println!("   And a protected one:");
    refused(modify_as_chart_bot(&authority, "patient-1".into(), "curiosity".into()).await);

    println!("All of it is on record, each event hashed onto the one before:");
    let trail = authority.trail().await?;
    println!("{}", atlasent_examples::table(&trail));
    report(&trail.verify())?;

    let file = Path::new("quickstart.trail.json");
    fs::write(file, serde_json::to_string_pretty(&trail)?)?;
    println!(
        "\nThe trail is in {}. Change any event in it, and check it:",
        file.display()
    );
    println!(
        "  cargo run --example quickstart -- check {}",
        file.display()
    );
    Ok(())
}

/// An orchestrator that gives each agent its token, and a service that verifies it. Both know the secret.
struct Tokens {
    orchestrator: Orchestrator,
    verifier: Verifier,
}

impl Tokens {
    fn new() -> Result<Self, ati_client::Error> {
        // Made anew for each run; a service reads its own from `ATI_JWT_SECRET`.
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let key = SigningKey::from_hex(&secret)?;
        Ok(Self {
            verifier: Verifier::builder(key.verifying_key()).build()?,
            orchestrator: Orchestrator::new("https://ati.example.com", key)?,
        })
    }

    /// What the service believes of an agent that comes with its token.
    fn of(&self, agent: &str, tool: &str) -> Result<Claims, ati_client::Error> {
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
        println!(
            "{} events, all of them as they were written.",
            report.events
        );
        return Ok(());
    }
    for finding in &report.findings {
        println!("  {finding}");
    }
    Err("the trail was tampered with".into())
}
