//! `atlasent token issue`: a token, alone on standard output.

use ati_client::{Claims, SigningKey, issue, parse_scopes};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::caution::cautions;
use super::limits::Limits;
use super::{issuer, keys};
use crate::exit::Failure;
use crate::output::Output;

/// Issue a token that says who an agent is, and what it may touch
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  atlasent token issue --agent deploy-bot --scope \"tool:github:* skill:triage help\"
  atlasent token issue --agent deploy-bot --scope tool:web_search --ttl 600 --rate 'tool:web_search=10/hour' > token.txt

A scope is `tool:<name>`, `skill:<name>` or a bare word. A `*` at its end stands for any rest; one that reaches
into other names, such as `tool:git*`, draws a warning. The token is all that goes to standard output.

",
    keys!()
))]
pub(crate) struct Issue {
    /// The agent
    #[arg(long, value_name = "AGENT", alias = "sub")]
    agent: String,

    /// What the agent may touch, with spaces between; may be empty
    #[arg(long, value_name = "SCOPES")]
    scope: String,

    /// The audience that the token is for
    #[arg(long, value_name = "AUDIENCE", default_value = "ati-proxy")]
    aud: String,

    /// The issuer of the token [default: $ATI_JWT_ISSUER, else ati-orchestrator]
    #[arg(long, value_name = "ISSUER", value_parser = NonEmptyStringValueParser::new())]
    iss: Option<String>,

    #[command(flatten)]
    limits: Limits,

    /// The job that the agent works on
    #[arg(long, value_name = "JOB")]
    job_id: Option<String>,

    /// The sandbox that the agent runs in
    #[arg(long, value_name = "SANDBOX")]
    sandbox_id: Option<String>,
}

/// Issues the token.
pub(crate) fn run(arguments: &Issue) -> Result<Output, Failure> {
    let key = SigningKey::from_env().map_err(Failure::misuse)?;
    let token = issue(&claims(arguments)?, &key).map_err(Failure::misuse)?;
    Ok(Output::new(format!("{token}\n")).warning(cautions(parse_scopes(&arguments.scope))))
}

fn claims(arguments: &Issue) -> Result<Claims, Failure> {
    let mut claims = Claims::builder(&arguments.agent)
        .scopes(parse_scopes(&arguments.scope))
        .audience(&arguments.aud)
        .ttl(arguments.limits.ttl());
    if let Some(issuer) = issuer::chosen(arguments.iss.as_deref())? {
        claims = claims.issuer(issuer);
    }
    for (pattern, rate) in arguments.limits.rates() {
        claims = claims.rate(pattern, rate);
    }
    if let Some(job_id) = &arguments.job_id {
        claims = claims.job_id(job_id);
    }
    if let Some(sandbox_id) = &arguments.sandbox_id {
        claims = claims.sandbox_id(sandbox_id);
    }
    claims.build().map_err(Failure::misuse)
}
