//! `atlasent evaluate`: evaluates one request against policies and explains the decision, without
//! recording an event or issuing a permit.

use std::io;
use std::path::PathBuf;

use atlasent::wire::{EvaluateRequest, PolicyTrace};
use atlasent::{Agent, AnyAction, Context};
use atlasent_authority::Policies;
use atlasent_authority::policy::{Explanation, check_fields, parse_amount};
use atlasent_authority::store::OrgId;
use clap::Args;
use serde_json::{Value, json};

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::files::read_at_most;
use crate::json;
use crate::output::{Output, escaped};
use crate::policy;

/// The largest context, in bytes: the limit of a server for the body of a request (contract, part
/// B).
const MAX_CONTEXT_BYTES: usize = 1 << 20;

/// Evaluate one request against policies, and explain the decision
#[derive(Args)]
#[command(after_help = r#"Examples:
  atlasent evaluate --policies policies --agent deploy-bot --action deploy.production --context '{"replicas": 3}'
  atlasent evaluate --policies policies --agent bot --action read --resource patient-1 --context - --json < context.json

The exit code is 0 for allow and 1 for any other decision. No event is recorded, and no permit is issued."#)]
pub(crate) struct Evaluate {
    /// The directory of the policies [default: `policies` in the data directory, as for `serve`]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    #[command(flatten)]
    data: DataDir,

    /// The organization in the data directory whose policies decide
    #[arg(
        long,
        value_name = "ID",
        default_value = "local",
        conflicts_with = "policies"
    )]
    org: OrgId,

    /// The agent that makes the request
    #[arg(long, value_name = "AGENT")]
    agent: String,

    /// The requested action, such as deploy.production
    #[arg(long, value_name = "ACTION")]
    action: String,

    /// The resource that the action is performed on [default: no resource]
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,

    /// The environment of the action, such as production; `context.environment` in policies
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// The amount of the action, a JSON number; `context.amount` in policies
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    amount: Option<String>,

    /// The context of the request, a JSON object, or `-` for standard input [default: {}]
    #[arg(long, value_name = "JSON|-")]
    context: Option<String>,

    /// Print the decision and its explanation as one JSON object
    #[arg(long)]
    json: bool,
}

/// Evaluates the request and explains the decision.
pub(crate) fn run(arguments: &Evaluate) -> Result<Output, Failure> {
    let request = request(arguments)?;
    let folder = match &arguments.policies {
        Some(folder) => folder.clone(),
        None if arguments.org.is_local() => data_dir::policy_folder(&arguments.data.path()?),
        None => data_dir::organization_policies(&arguments.data.path()?, &arguments.org),
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
        Err(Failure::NegativeResult(output))
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

/// Parses a context. The error repeats no part of it, since a context may hold secrets.
fn context(text: &str) -> Result<Context, Failure> {
    Context::parse(text).map_err(|_| {
        let why = match serde_json::from_str::<Context>(text) {
            Err(error) => format!(
                "invalid at line {}, column {}",
                error.line(),
                error.column()
            ),
            Ok(_) => "the exponent of a number is too large".to_owned(),
        };
        Failure::misuse(format!(
            "`--context` must be a JSON object without repeated keys, as in `{{\"replicas\": 3}}`: {why}"
        ))
    })
}

fn standard_input() -> Result<String, Failure> {
    let bytes = read_at_most(io::stdin().lock(), MAX_CONTEXT_BYTES)
        .map_err(|error| Failure::misuse(format!("cannot read standard input: {error}")))?;
    let bytes = bytes.ok_or_else(|| {
        Failure::misuse(format!(
            "standard input exceeds the limit of {MAX_CONTEXT_BYTES} bytes for a request"
        ))
    })?;
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
        lines.push("considered: no policies".to_owned());
    } else {
        lines.push("considered:".to_owned());
    }
    for policy in &explanation.trace.rules_evaluated {
        let (id, decision) = (&policy.policy_id, &policy.decision);
        lines.push(format!(
            "  `{id}` at {} ({decision}): {}",
            place(id),
            outcome(policy)
        ));
    }
    lines.iter().map(|line| escaped(line) + "\n").collect()
}

/// Describes whether a policy matched, and if not, which part of it did not.
fn outcome(policy: &PolicyTrace) -> &'static str {
    match policy.stages.as_slice() {
        [_, condition] if condition.matched => "matches",
        [_, condition] if condition.detail.is_some() => "could not be evaluated",
        [_, _] => "condition does not match",
        _ => "scope does not match",
    }
}

fn as_json(explanation: &Explanation, policies: &Policies) -> Value {
    let determining: Vec<Value> = (explanation.determining.iter())
        .map(|id| json::with_member(json!({ "id": id }), "place", policies.place(id)))
        .collect();
    let json = json!({
        "decision": explanation.decision,
        "reason": explanation.reason,
        "policies": determining,
        "errors": explanation.errors,
        "constraint_trace": explanation.trace,
    });
    let json = json::with_member(json, "code", explanation.code.as_deref());
    let json = json::with_member(json, "hint", explanation.hint.as_deref());
    let wait = explanation.retry_after.map(|wait| wait.as_secs());
    json::with_member(json, "retry_after", wait)
}
