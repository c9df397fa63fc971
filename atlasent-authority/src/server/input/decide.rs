//! The bodies of evaluate, verify and revoke requests, in each form that the SDKs send.

use atlasent::wire::{
    EvaluateRequest, PermitToken, RequestOptions, VerifyRequest, execution_hash_of_text,
};
use atlasent::{Action, Agent, AnyAction, Context, Error};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body;
use super::query::check_reason;
use crate::policy::fields::parse_amount;
use crate::server::api_error::ApiError;

/// The longest resource id, and the longest other name, in characters (contract, part B).
const MAX_RESOURCE: usize = 512;
const MAX_NAME: usize = 256;

/// A request to evaluate an action.
#[derive(Debug)]
pub(crate) struct EvaluateInput {
    pub(crate) request: EvaluateRequest,
    /// The hash that the caller restates when it verifies the permit. It covers the context as it
    /// was written: programs spell numbers in different ways.
    pub(crate) execution_hash: String,
}

/// The JSON form of an evaluate request. The first SDKs send `action` and `agent`.
#[derive(Deserialize)]
struct EvaluateBody<'a> {
    action_type: Option<String>,
    action: Option<String>,
    actor_id: Option<String>,
    agent: Option<String>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    resource_id: Option<String>,
    actors: Option<Vec<Agent>>,
    shadow: Option<bool>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
}

impl EvaluateInput {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        let body: EvaluateBody<'_> = body::parse(bytes)?;
        let action = either("action_type", body.action_type, "action", body.action)?;
        let agent = either("actor_id", body.actor_id, "agent", body.agent)?;
        let action = action.ok_or_else(|| missing("action_type"))?;
        let agent = agent.ok_or_else(|| missing("actor_id"))?;
        let context = body.context.map_or("{}", RawValue::get);
        let context = if context == "null" { "{}" } else { context };
        if !context.starts_with('{') {
            return Err(ApiError::invalid("`context` has to be an object"));
        }

        let mut request = EvaluateRequest::new(Agent::new(agent)?, &AnyAction::new(action)?)?;
        let execution_hash = set_context(&mut request, context)?;
        request.resource_id = body.resource_id;
        request.actors = body.actors.unwrap_or_default();
        request.shadow = body.shadow;
        request.options = body::parse::<RequestOptions>(bytes)?;
        check_length("resource_id", request.resource_id.as_deref(), MAX_RESOURCE)?;
        check_length(
            "environment",
            request.options.environment.as_deref(),
            MAX_NAME,
        )?;
        // An empty id counts as missing: requests without an id would share it.
        request.options.request_id = not_empty(request.options.request_id);
        check_length(
            "request_id",
            request.options.request_id.as_deref(),
            MAX_NAME,
        )?;
        if let Some(text) = body.amount.filter(|_| request.options.amount.is_some()) {
            let (number, text) = (parse_amount(text.get())?, text.get());
            request.options = request.options.amount_as_written(number, text);
        }
        Ok(Self {
            request,
            execution_hash,
        })
    }
}

#[derive(Deserialize)]
struct VerifyBody {
    permit_token: Option<String>,
    decision_id: Option<Value>,
    action_type: Option<String>,
    action: Option<String>,
    actor_id: Option<String>,
    agent: Option<String>,
    environment: Option<String>,
    execution_hash: Option<String>,
    require_approval: Option<bool>,
}

/// Reads a request to verify a permit. A missing token reads as an empty one, which names no
/// permit.
pub(crate) fn read_verify(bytes: &[u8]) -> Result<VerifyRequest, ApiError> {
    let body: VerifyBody = body::parse(bytes)?;
    // The first SDKs send the token as `decision_id`. Beside `permit_token` it is ignored.
    let token = match (not_empty(body.permit_token), body.decision_id) {
        (None, Some(Value::String(id))) => id,
        (token, _) => token.unwrap_or_default(),
    };
    let mut request = VerifyRequest::new(PermitToken::new(token)?);
    let action = either("action_type", body.action_type, "action", body.action)?;
    let agent = either("actor_id", body.actor_id, "agent", body.agent)?;
    if let Some(action) = action {
        request.action_type = Some(AnyAction::new(action)?.name_for_request());
    }
    if let Some(agent) = agent {
        request.actor_id = Some(Agent::new(agent)?);
    }
    check_length("environment", body.environment.as_deref(), MAX_NAME)?;
    check_length("execution_hash", body.execution_hash.as_deref(), MAX_NAME)?;
    request.environment = body.environment;
    request.execution_hash = body.execution_hash.map(Into::into);
    request.require_approval = body.require_approval;
    Ok(request)
}

/// A request to revoke a permit by its token.
#[derive(Debug)]
pub(crate) struct RevokeInput {
    pub(crate) token: PermitToken,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
struct RevokeBody {
    decision_id: Option<String>,
    permit_token: Option<String>,
    reason: Option<String>,
}

impl RevokeInput {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        let body: RevokeBody = body::parse(bytes)?;
        let token = either(
            "decision_id",
            body.decision_id,
            "permit_token",
            body.permit_token,
        )?;
        let reason = check_reason(body.reason)?;
        Ok(Self {
            token: PermitToken::new(token.ok_or_else(|| missing("decision_id"))?)?,
            reason,
        })
    }
}

/// Returns the value of a field that has two names. An empty value counts as missing. Two different
/// values are refused.
fn either(
    name: &str,
    value: Option<String>,
    older_name: &str,
    older: Option<String>,
) -> Result<Option<String>, ApiError> {
    match (not_empty(value), not_empty(older)) {
        (Some(value), Some(older)) if value != older => Err(ApiError::invalid(format!(
            "`{name}` and its older name `{older_name}` have two different values: send one of them"
        ))),
        (value, older) => Ok(value.or(older)),
    }
}

/// Returns a text, unless it is empty.
fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Sets the context of a request from its text. Returns the hash of the request, with the numbers
/// of the context as they were written.
fn set_context(request: &mut EvaluateRequest, text: &str) -> Result<String, ApiError> {
    let context = match Context::parse(text) {
        // Most contexts have one spelling only, so that their text need not be read again.
        Ok(context) if context.is_written_canonically() => {
            request.context = context;
            return Ok(request.execution_hash().to_string());
        }
        read => read,
    };
    // Refuses a context with a repeated key, too (contract, part B).
    let (action, agent) = (&request.action_type, request.actor_id.as_str());
    let hash = execution_hash_of_text(action, agent, text)?;
    request.context = context.map_err(|error| unreadable_context(text, error))?;
    Ok(hash)
}

/// Returns the error for a context whose syntax is right and which repeats no key: what is left is
/// its depth, half of a surrogate pair, and the exponent of a number.
fn unreadable_context(text: &str, error: Error) -> ApiError {
    let why = match error {
        Error::Invalid(why) => why,
        error => error.to_string(),
    };
    // `serde_json` refuses the first two as well. It reads such a number, or calls it out of range.
    match serde_json::from_str::<Value>(text) {
        Err(error) if !body::is_out_of_range(&error) => ApiError::unreadable("INVALID_JSON", why),
        _ => ApiError::invalid(why),
    }
}

/// Refuses a text that is longer than the contract allows (part B), which keeps events small.
fn check_length(name: &str, text: Option<&str>, most: usize) -> Result<(), ApiError> {
    match text {
        Some(text) if text.chars().nth(most).is_some() => Err(ApiError::invalid(format!(
            "`{name}` has more than {most} characters: shorten it"
        ))),
        _ => Ok(()),
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::invalid(format!("`{name}` is missing"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// JSON values as programs write them, with numbers in many spellings.
    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            ".{0,4}".prop_map(|text| serde_json::json!(text).to_string()),
            r#""(\\u00[4-7][0-9a-f]|\\/|a){0,3}""#,
            prop::sample::select(&["null", "true", "false"][..]).prop_map(str::to_owned),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let member = ("[ab]{1,2}", inner.clone());
            let member = member.prop_map(|(key, value)| format!("{key:?} : {value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4)
                    .prop_map(|list| format!("[{}]", list.join(", "))),
                prop::collection::vec(member, 0..4)
                    .prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_context_that_is_read_once_has_the_hash_of_its_text(
            members in prop::collection::vec(("[a-d]{1,2}", json_text()), 0..4),
        ) {
            let members = members.iter().map(|(key, value)| format!("{key:?}:{value}"));
            let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            let action = AnyAction::new("deploy").unwrap();
            let mut request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
            let of_text = execution_hash_of_text("deploy", "bot", &text);
            match set_context(&mut request, &text) {
                Ok(hash) => prop_assert_eq!(hash, of_text.unwrap()),
                // Repeated keys, and numbers beyond all formats.
                Err(_) => prop_assert!(Context::parse(&text).is_err(), "{}", text),
            }
        }
    }
}
