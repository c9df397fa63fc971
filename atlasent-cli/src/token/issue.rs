//! `atlasent token issue`: issues a token and prints it on standard output.

use ati_client::{Claims, SigningKey, issue, parse_scopes};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::limits::TokenLimits;
use super::warnings::pattern_warnings;
use super::{issuer, key_variables_help};
use crate::exit::Failure;
use crate::output::Output;

/// Issue a token that names an agent and grants it scopes
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  atlasent token issue --agent deploy-bot --scope \"tool:github:* skill:triage help\"
  atlasent token issue --agent deploy-bot --scope tool:web_search --ttl 600 --rate 'tool:web_search=10/hour' > token.txt

A scope is `tool:<name>`, `skill:<name>` or a plain word. A `*` at the end is a wildcard. A wildcard inside a name,
such as `tool:git*`, draws a warning. Standard output gets the token only.

",
    key_variables_help!()
))]
pub(crate) struct Issue {
    /// The agent, which becomes the claim `sub`
    #[arg(long, value_name = "AGENT", alias = "sub")]
    agent: String,

    /// The granted scopes, separated by spaces; may be empty
    #[arg(long, value_name = "SCOPES")]
    scope: String,

    /// The audience of the token
    #[arg(long, value_name = "AUDIENCE", default_value = "ati-proxy")]
    aud: String,

    /// The issuer of the token [default: $ATI_JWT_ISSUER, else ati-orchestrator]
    #[arg(long, value_name = "ISSUER", value_parser = NonEmptyStringValueParser::new())]
    iss: Option<String>,

    #[command(flatten)]
    limits: TokenLimits,

    /// The id of the agent's job [default: no job id]
    #[arg(long, value_name = "JOB")]
    job_id: Option<String>,

    /// The id of the agent's sandbox [default: no sandbox id]
    #[arg(long, value_name = "SANDBOX")]
    sandbox_id: Option<String>,
}

/// Issues the token.
pub(crate) fn run(arguments: &Issue) -> Result<Output, Failure> {
    let key = SigningKey::from_env().map_err(Failure::misuse)?;
    let token = issue(&claims(arguments)?, &key).map_err(Failure::misuse)?;
    Ok(Output::new(format!("{token}\n"))
        .with_warnings(pattern_warnings(parse_scopes(&arguments.scope))))
}

fn claims(arguments: &Issue) -> Result<Claims, Failure> {
    let mut claims = Claims::builder(&arguments.agent)
        .scopes(parse_scopes(&arguments.scope))
        .audience(&arguments.aud)
        .ttl(arguments.limits.ttl());
    if let Some(issuer) = issuer::resolve(arguments.iss.as_deref())? {
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
