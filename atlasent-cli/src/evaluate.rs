//! `atlasent evaluate`: one question, the answer, and the reasons for it.

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use atlasent::{Agent, AnyAction, EvaluateRequest, PolicyTrace};
use atlasent_authority::{Explanation, Policies};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::output::{Output, harmless};
use crate::{json, policy};

/// Ask the policies of a folder one question, and say why they answer as they do
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent evaluate --policies policies --agent deploy-bot --action deploy.production --context '{\"replicas\":500}'
  jq .context request.json | atlasent evaluate --policies policies --agent bot --action deploy --context - --json

It asks no server, records nothing, and mints no permit. Exit code 0: allowed; 1: not.")]
pub(crate) struct Evaluate {
    /// The folder of the policies
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,

    /// Who asks
    #[arg(long, value_name = "AGENT")]
    agent: String,

    /// What for
    #[arg(long, value_name = "ACTION")]
    action: String,

    /// On what
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,

    /// The circumstances, a JSON object; `-` reads it from standard input
    #[arg(long, value_name = "JSON")]
    context: Option<String>,

    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks the question.
pub(crate) fn run(arguments: &Evaluate) -> Result<Output, Failure> {
    let policies = policy::load(&arguments.policies)?;
    let answer = policies.explain(&question(arguments)?);
    let text = match arguments.json {
        true => json::for_stdout(&as_json(&answer).to_string()),
        false => as_text(&answer, &policies),
    };
    match answer.decision.is_allow() {
        true => Ok(Output::new(text)),
        false => Err(Failure::report(text)),
    }
}

fn question(arguments: &Evaluate) -> Result<EvaluateRequest, Failure> {
    let action = AnyAction::new(arguments.action.clone()).map_err(Failure::misuse)?;
    let agent = Agent::new(arguments.agent.clone()).map_err(Failure::misuse)?;
    let mut request = EvaluateRequest::new(agent, &action).map_err(Failure::misuse)?;
    request.resource_id.clone_from(&arguments.resource);
    request.context = context(arguments.context.as_deref())?.into();
    Ok(request)
}

fn context(argument: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let text = match argument {
        None => return Ok(Map::new()),
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::misuse(format!("cannot read the context: {error}")))?;
            text
        }
        Some(text) => text.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::misuse(format!("`--context` is no JSON object: {error}")))
}

fn as_text(answer: &Explanation, policies: &Policies) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut text, answer, policies);
    text
}

fn write_text(out: &mut String, answer: &Explanation, policies: &Policies) -> std::fmt::Result {
    writeln!(out, "{}: {}", answer.decision, harmless(&answer.reason))?;
    if let Some(code) = &answer.code {
        writeln!(out, "  code         {}", harmless(code))?;
    }
    if let Some(wait) = answer.retry_after {
        writeln!(out, "  ask again in {} seconds", wait.as_secs())?;
    }
    for error in &answer.errors {
        writeln!(out, "  error        {}", harmless(error))?;
    }
    if answer.trace.rules_evaluated.is_empty() {
        return writeln!(out, "  no policy is about this agent, action and resource");
    }
    for policy in &answer.trace.rules_evaluated {
        let place = policies.place(&policy.policy_id).unwrap_or_default();
        writeln!(
            out,
            "  {} {} ({}, {})",
            outcome(answer, policy),
            harmless(&policy.policy_id),
            policy.decision,
            harmless(&place)
        )?;
    }
    Ok(())
}

/// How a policy came out, in one word that lines up.
fn outcome(answer: &Explanation, policy: &PolicyTrace) -> &'static str {
    let matched = policy.stages.iter().all(|stage| stage.matched);
    match (answer.determining.contains(&policy.policy_id), matched) {
        (true, _) => "decides     ",
        (false, true) => "applies     ",
        (false, false) => "does not    ",
    }
}

fn as_json(answer: &Explanation) -> Value {
    json!({
        "decision": answer.decision,
        "reason": answer.reason,
        "code": answer.code,
        "retry_after": answer.retry_after.map(|wait| wait.as_secs()),
        "policies": answer.determining,
        "errors": answer.errors,
        "constraint_trace": answer.trace,
    })
}
