//! `atlasent evaluate`: what policies answer to one question, and why. It records nothing and mints
//! nothing.

use std::io::{self, Read};
use std::path::PathBuf;

use atlasent::wire::{EvaluateRequest, PolicyTrace};
use atlasent::{Agent, AnyAction, Context};
use atlasent_authority::Policies;
use atlasent_authority::policy::{Explanation, check_fields, parse_amount};
use clap::Args;
use serde_json::{Value, json};

use crate::data::{self, DataDir};
use crate::exit::Failure;
use crate::json;
use crate::output::{Output, harmless};
use crate::policy;

/// As much as a server reads of one request (contract, part B).
const MAX_CONTEXT_BYTES: usize = 1 << 20;

/// Ask policies one question, and print the decision and why it is that one
#[derive(Args)]
#[command(after_help = r#"Examples:
  atlasent evaluate --policies policies --agent deploy-bot --action deploy.production --context '{"replicas": 3}'
  atlasent evaluate --policies policies --agent bot --action read --resource patient-1 --context - --json < context.json

An allow ends with exit code 0, any other decision with 1. Nothing is recorded, and no permit comes of it."#)]
pub(crate) struct Evaluate {
    /// The folder of the policies [default: `policies` in the data directory, as `serve` has it]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    #[command(flatten)]
    data: DataDir,

    /// The agent that asks
    #[arg(long, value_name = "AGENT")]
    agent: String,

    /// What the agent wants to do
    #[arg(long, value_name = "ACTION")]
    action: String,

    /// What the action is done to
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,

    /// The environment that the action runs in; policies see it as `context.environment`
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// The amount at stake, a JSON number; policies see it as `context.amount`
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    amount: Option<String>,

    /// The circumstances, as a JSON object, or `-` for standard input [default: {}]
    #[arg(long, value_name = "JSON|-")]
    context: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks, and explains the answer.
pub(crate) fn run(arguments: &Evaluate) -> Result<Output, Failure> {
    let request = request(arguments)?;
    let folder = match &arguments.policies {
        Some(folder) => folder.clone(),
        None => data::policy_folder(&arguments.data.path()?),
    };
    let policies = policy::load(&folder)?;
    let explanation = policies.explain(&request);
    let output = Output::new(if arguments.json {
        json::for_stdout(&as_json(&explanation, &policies).to_string())
    } else {
        as_text(&explanation, &policies)
    });
    if explanation.decision.is_allow() {
        Ok(output)
    } else {
        Err(Failure::Negative(output))
    }
}

fn request(arguments: &Evaluate) -> Result<EvaluateRequest, Failure> {
    let context = match arguments.context.as_deref() {
        None => Context::new(),
        Some("-") => context(&standard_input()?)?,
        Some(text) => context(text)?,
    };
    let agent = Agent::new(arguments.agent.as_str()).map_err(Failure::misuse)?;
    let action = AnyAction::new(arguments.action.clone()).map_err(Failure::misuse)?;
    let mut action = action.with_context(context);
    if let Some(resource) = &arguments.resource {
        action = action.with_resource(resource);
    }
    let mut request = EvaluateRequest::new(agent, &action).map_err(Failure::misuse)?;
    request
        .options
        .environment
        .clone_from(&arguments.environment);
    let amount = arguments.amount.as_deref().map(parse_amount);
    request.options.amount = amount.transpose().map_err(Failure::misuse)?;
    check_fields(&request).map_err(Failure::misuse)?;
    Ok(request)
}

/// The error repeats nothing of the context, which can hold secrets.
fn context(text: &str) -> Result<Context, Failure> {
    Context::parse(text).map_err(|_| {
        let why = match serde_json::from_str::<Context>(text) {
            Err(error) => format!(
                "line {}, column {} does not fit",
                error.line(),
                error.column()
            ),
            Ok(_) => "a number has too large an exponent".to_owned(),
        };
        Failure::misuse(format!(
            "`--context` takes a JSON object with each key once, as in `{{\"replicas\": 3}}`: {why}"
        ))
    })
}

fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_CONTEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::misuse(format!("cannot read standard input: {error}")))?;
    if bytes.len() > MAX_CONTEXT_BYTES {
        return Err(Failure::misuse(format!(
            "standard input holds more than the {MAX_CONTEXT_BYTES} bytes that a request may have"
        )));
    }
    String::from_utf8(bytes).map_err(|_| Failure::misuse("standard input is not UTF-8"))
}

fn as_text(explanation: &Explanation, policies: &Policies) -> String {
    let place = |id: &str| policies.place(id).unwrap_or_default();
    let mut lines = vec![format!("{}: {}", explanation.decision, explanation.reason)];
    lines.extend(
        explanation
            .code
            .as_ref()
            .map(|code| format!("code: {code}")),
    );
    lines.extend(
        explanation
            .hint
            .as_ref()
            .map(|hint| format!("hint: {hint}")),
    );
    if let Some(wait) = explanation.retry_after {
        lines.push(format!("retry after: {} s", wait.as_secs()));
    }
    for id in &explanation.determining {
        lines.push(format!("decided by: `{id}` at {}", place(id)));
    }
    lines.extend(
        explanation
            .errors
            .iter()
            .map(|error| format!("error: {error}")),
    );
    if explanation.trace.rules_evaluated.is_empty() {
        lines.push("considered: no policy".to_owned());
    } else {
        lines.push("considered:".to_owned());
    }
    for policy in &explanation.trace.rules_evaluated {
        let (id, says) = (&policy.policy_id, &policy.decision);
        lines.push(format!(
            "  `{id}` at {} ({says}): {}",
            place(id),
            outcome(policy)
        ));
    }
    lines.iter().map(|line| harmless(line) + "\n").collect()
}

/// How far the policy came.
fn outcome(policy: &PolicyTrace) -> &'static str {
    match policy.stages.as_slice() {
        [_, condition] if condition.matched => "matches",
        [_, condition] if condition.detail.is_some() => "could not be evaluated",
        [_, _] => "its condition is not met",
        _ => "its scope is about others",
    }
}

fn as_json(explanation: &Explanation, policies: &Policies) -> Value {
    let determining: Vec<Value> = (explanation.determining.iter())
        .map(|id| json::with(json!({ "id": id }), "place", policies.place(id)))
        .collect();
    let json = json!({
        "decision": explanation.decision,
        "reason": explanation.reason,
        "policies": determining,
        "errors": explanation.errors,
        "constraint_trace": explanation.trace,
    });
    let json = json::with(json, "code", explanation.code.as_deref());
    let json = json::with(json, "hint", explanation.hint.as_deref());
    let wait = explanation.retry_after.map(|wait| wait.as_secs());
    json::with(json, "retry_after", wait)
}
