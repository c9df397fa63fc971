//! What callers ask, in every form that the SDKs send.

use atlasent::wire::{
    EvaluateRequest, PermitToken, RequestOptions, VerifyRequest, execution_hash_of_text,
};
use atlasent::{Action, Agent, AnyAction, Context, Error};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body;
use super::query::reason;
use crate::keys::ApiKey;
use crate::policy::fields::parse_amount;
use crate::server::api_error::Problem;

/// The longest id of a resource, and the longest other name, in characters (contract, part B).
const MAX_RESOURCE: usize = 512;
const MAX_NAME: usize = 256;

/// A question whether an agent may do something.
#[derive(Debug)]
pub(crate) struct Evaluate {
    pub(crate) request: EvaluateRequest,
    /// The hash that the caller will restate at verification. It is over the context as it was
    /// written: programs differ in how they spell numbers.
    pub(crate) execution_hash: String,
}

/// The names of the first SDKs (`action`, `agent`) are still taken.
#[derive(Deserialize)]
struct WireEvaluate<'a> {
    action_type: Option<String>,
    action: Option<String>,
    actor_id: Option<String>,
    agent: Option<String>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    resource_id: Option<String>,
    shadow: Option<bool>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    api_key: Option<String>,
}

impl Evaluate {
    pub(crate) fn read(bytes: &[u8], key: &ApiKey) -> Result<Self, Problem> {
        let wire: WireEvaluate<'_> = body::parse(bytes)?;
        body::check_key(wire.api_key.as_deref(), key)?;
        let action = either("action_type", wire.action_type, "action", wire.action)?;
        let agent = either("actor_id", wire.actor_id, "agent", wire.agent)?;
        let action = action.ok_or_else(|| missing("action_type"))?;
        let agent = agent.ok_or_else(|| missing("actor_id"))?;
        let context = wire.context.map_or("{}", RawValue::get);
        let context = if context == "null" { "{}" } else { context };
        if !context.starts_with('{') {
            return Err(Problem::invalid("`context` has to be an object"));
        }

        let mut request = EvaluateRequest::new(Agent::new(agent)?, &AnyAction::new(action)?)?;
        // Finds a key that stands twice, too (contract, part B).
        let execution_hash =
            execution_hash_of_text(&request.action_type, request.actor_id.as_str(), context)?;
        request.context = read_context(context)?;
        request.resource_id = wire.resource_id;
        request.shadow = wire.shadow;
        request.options = body::parse::<RequestOptions>(bytes)?;
        check_length("resource_id", request.resource_id.as_deref(), MAX_RESOURCE)?;
        check_length(
            "environment",
            request.options.environment.as_deref(),
            MAX_NAME,
        )?;
        check_length(
            "request_id",
            request.options.request_id.as_deref(),
            MAX_NAME,
        )?;
        if let (Some(number), Some(text)) = (&mut request.options.amount, wire.amount) {
            *number = parse_amount(text.get())?;
        }
        Ok(Self {
            request,
            execution_hash,
        })
    }
}

#[derive(Deserialize)]
struct WireVerify {
    permit_token: Option<String>,
    decision_id: Option<Value>,
    action_type: Option<String>,
    action: Option<String>,
    actor_id: Option<String>,
    agent: Option<String>,
    environment: Option<String>,
    execution_hash: Option<String>,
    require_approval: Option<bool>,
    api_key: Option<String>,
}

/// Reads a question whether a permit is good. One without a token is a question, too: its answer is
/// no.
pub(crate) fn read_verify(bytes: &[u8], key: &ApiKey) -> Result<VerifyRequest, Problem> {
    let wire: WireVerify = body::parse(bytes)?;
    body::check_key(wire.api_key.as_deref(), key)?;
    // The first SDKs know the token as `decision_id`. Beside a token it means nothing.
    let token = match (wire.permit_token, &wire.decision_id) {
        (None, Some(Value::String(id))) => id.clone(),
        (token, _) => token.unwrap_or_default(),
    };
    let mut request = VerifyRequest::new(PermitToken::new(token)?);
    let action = either("action_type", wire.action_type, "action", wire.action)?;
    let agent = either("actor_id", wire.actor_id, "agent", wire.agent)?;
    // Empty means "not restated".
    if let Some(action) = action.filter(|action| !action.is_empty()) {
        request.action_type = Some(AnyAction::new(action)?.name().to_owned());
    }
    if let Some(agent) = agent.filter(|agent| !agent.is_empty()) {
        request.actor_id = Some(Agent::new(agent)?);
    }
    check_length("environment", wire.environment.as_deref(), MAX_NAME)?;
    check_length("execution_hash", wire.execution_hash.as_deref(), MAX_NAME)?;
    request.environment = wire.environment;
    request.execution_hash = wire.execution_hash;
    request.require_approval = wire.require_approval;
    Ok(request)
}

/// A permit that somebody wants back.
#[derive(Debug)]
pub(crate) struct Revoke {
    pub(crate) token: PermitToken,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct WireRevoke {
    decision_id: Option<String>,
    permit_token: Option<String>,
    reason: Option<String>,
    api_key: Option<String>,
}

impl Revoke {
    pub(crate) fn read(bytes: &[u8], key: &ApiKey) -> Result<Self, Problem> {
        let wire: WireRevoke = body::parse(bytes)?;
        body::check_key(wire.api_key.as_deref(), key)?;
        let token = either(
            "decision_id",
            wire.decision_id,
            "permit_token",
            wire.permit_token,
        )?;
        let token = token.filter(|token| !token.is_empty());
        let reason = reason(wire.reason)?;
        Ok(Self {
            token: PermitToken::new(token.ok_or_else(|| missing("decision_id"))?)?,
            reason,
        })
    }
}

/// One thing under two names.
fn either(
    name: &str,
    value: Option<String>,
    older_name: &str,
    older: Option<String>,
) -> Result<Option<String>, Problem> {
    match (value, older) {
        (Some(value), Some(older)) if value != older => Err(Problem::invalid(format!(
            "`{name}` and its older name `{older_name}` contradict each other: send one"
        ))),
        (value, older) => Ok(value.or(older)),
    }
}

/// What is left to go wrong with an object in which no key stands twice is its depth, half a
/// character, or a number too large for any program.
fn read_context(text: &str) -> Result<Context, Problem> {
    Context::parse(text).map_err(|error| {
        let why = match error {
            Error::Invalid(why) => why,
            error => error.to_string(),
        };
        Problem::unreadable("INVALID_JSON", why)
    })
}

/// Refuses a text that is longer than the contract lets it be (part B). What is recorded of a
/// request stays small that way.
fn check_length(name: &str, text: Option<&str>, most: usize) -> Result<(), Problem> {
    match text {
        Some(text) if text.chars().nth(most).is_some() => Err(Problem::invalid(format!(
            "`{name}` has more than {most} characters"
        ))),
        _ => Ok(()),
    }
}

fn missing(name: &str) -> Problem {
    Problem::invalid(format!("`{name}` is missing"))
}
