//! `atlasent token provision`: issues a token for a sandbox and prints its two environment
//! variables.

use std::collections::BTreeMap;

use ati_client::{Orchestrator, Sandbox, SandboxEnv, SigningKey, build_scope_string, parse_scopes};
use clap::Args;

use super::limits::TokenLimits;
use super::warnings::pattern_warnings;
use super::{issuer, key_variables_help};
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// Issue a token for a sandbox, and print its variables ATI_PROXY_URL and ATI_SESSION_TOKEN
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  atlasent token provision --agent deploy-bot --proxy-url https://ati.example.com \\
      --tool github:search web_search --skill triage --rate 'tool:github:*=10/hour' > agent.env
  docker run --env-file agent.env my-agent

  atlasent token provision --agent deploy-bot --proxy-url https://ati.example.com --scope help --json

A `*` at the end of a name is a wildcard. A wildcard inside a name, such as `git*`, draws a warning. The token has the
audience ati-proxy and the issuer $ATI_JWT_ISSUER, else ati-orchestrator. The token is a credential: pass it to the
agent only.

",
    key_variables_help!()
))]
pub(crate) struct Provision {
    /// The agent, which becomes the claim `sub`
    #[arg(long, value_name = "AGENT")]
    agent: String,

    /// The URL of the proxy, such as https://ati.example.com; trailing slashes are removed
    #[arg(long, value_name = "URL")]
    proxy_url: String,

    /// The tools that the agent may call, with or without `tool:`; repeatable
    #[arg(long = "tool", value_name = "TOOL", num_args = 1..)]
    tools: Vec<String>,

    /// The skills that the agent may use, with or without `skill:`; repeatable
    #[arg(long = "skill", value_name = "SKILL", num_args = 1..)]
    skills: Vec<String>,

    /// Other scopes, granted as they are written; repeatable
    #[arg(long = "scope", value_name = "SCOPE", num_args = 1..)]
    scopes: Vec<String>,

    #[command(flatten)]
    limits: TokenLimits,

    /// Print the variables as one JSON object instead of NAME=value lines
    #[arg(long)]
    json: bool,
}

/// Issues a token for the sandbox and returns the variables.
pub(crate) fn run(arguments: &Provision) -> Result<Output, Failure> {
    let key = SigningKey::from_env().map_err(Failure::misuse)?;
    let mut orchestrator = Orchestrator::new(&arguments.proxy_url, key).map_err(Failure::misuse)?;
    if let Some(issuer) = issuer::resolve(None)? {
        orchestrator = orchestrator.issuer(issuer);
    }
    let scope = build_scope_string(&arguments.tools, &arguments.skills, &arguments.scopes)
        .map_err(Failure::misuse)?;
    let mut sandbox = Sandbox::new(&arguments.agent)
        .scopes(parse_scopes(&scope))
        .ttl(arguments.limits.ttl());
    for (pattern, rate) in arguments.limits.rates() {
        sandbox = sandbox.rate(pattern, rate);
    }
    let variables = orchestrator
        .provision_sandbox(&sandbox)
        .map_err(Failure::misuse)?;
    let text = if arguments.json {
        object(&variables)?
    } else {
        lines(&variables)
    };
    Ok(Output::new(text).with_warnings(pattern_warnings(parse_scopes(&scope))))
}

fn lines(variables: &SandboxEnv) -> String {
    variables
        .vars()
        .map(|(name, value)| format!("{name}={value}\n"))
        .concat()
}

fn object(variables: &SandboxEnv) -> Result<String, Failure> {
    let object = BTreeMap::from(variables.vars());
    let object = serde_json::to_string(&object).map_err(Failure::misuse)?;
    Ok(json::for_stdout(&object))
}
