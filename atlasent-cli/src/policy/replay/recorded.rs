//! A decision of a trail, and the request that it answered.

use atlasent::audit::Event;
use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context, Decision};
use atlasent_authority::policy::{check_fields, parse_amount};
use serde::Deserialize;

/// The prefix of the types of events that record a decision.
const EVALUATE: &str = "evaluate.";

/// The type of an event that records a repeated request, which got its earlier answer.
const REPLAYED: &str = "evaluate.replayed";

/// The code of a hold because the request asks for an approval.
const APPROVAL_REQUIRED: &str = "APPROVAL_REQUIRED";

/// What stands in place of an amount that is redacted.
const REDACTED: &str = "[redacted]";

/// What an event that records a decision has for a replay.
pub(super) enum Recorded {
    Decision(Box<RecordedDecision>),
    /// The decision did not come from policies alone: its code, or the event's type.
    NotByPolicies(String),
    /// The context was not recorded, or not all of it.
    WithoutContext,
    /// The request cannot be rebuilt from the event.
    NotRebuilt,
}

/// A decision that policies made, and the request that it answered.
pub(super) struct RecordedDecision {
    pub(super) request: EvaluateRequest,
    pub(super) decision: Decision,
    pub(super) code: Option<String>,
    pub(super) policies: Vec<String>,
}

/// The fields of the payload that a replay reads.
#[derive(Deserialize)]
struct Payload {
    action_type: Option<String>,
    context: Option<String>,
    context_hash: Option<String>,
    amount: Option<String>,
    environment: Option<String>,
    #[serde(default)]
    actors: Vec<Agent>,
    shadow: Option<bool>,
    code: Option<String>,
    /// Unset for a denial for a reason outside the policies.
    policies: Option<Vec<String>>,
    errors: Option<Vec<String>>,
}

impl Recorded {
    /// Reads an event. Returns `None` if the event records no decision.
    pub(super) fn from_event(event: &Event) -> Option<Self> {
        let kind = event.envelope.kind.as_str();
        let decision = kind.strip_prefix(EVALUATE)?;
        if kind == REPLAYED {
            return Some(Self::NotByPolicies(REPLAYED.to_owned()));
        }
        let (Some(decision), Ok(payload)) = (read(decision), event.payload.parse::<Payload>())
        else {
            return Some(Self::NotRebuilt);
        };
        Some(Self::from_payload(event, decision, payload))
    }

    fn from_payload(event: &Event, decision: Decision, payload: Payload) -> Self {
        let is_by_policies = payload.policies.is_some() && payload.errors.is_none();
        let asks_for_approval =
            decision == Decision::Hold && payload.code.as_deref() == Some(APPROVAL_REQUIRED);
        if !is_by_policies || asks_for_approval {
            let code = payload.code.unwrap_or_else(|| "no code".to_owned());
            return Self::NotByPolicies(code);
        }
        let Some(context) = payload.context.as_deref() else {
            return Self::WithoutContext;
        };
        if is_redacted(context, &payload) {
            return Self::WithoutContext;
        }
        match request(event, context, &payload) {
            Some(request) => Self::Decision(Box::new(RecordedDecision {
                request,
                decision,
                code: payload.code,
                policies: payload.policies.unwrap_or_default(),
            })),
            None => Self::NotRebuilt,
        }
    }
}

/// Returns whether the context or the amount lacks values, which the policy that held the request
/// redacts. The hash is that of the whole context.
fn is_redacted(context: &str, payload: &Payload) -> bool {
    let is_other = |whole: &String| {
        let recorded = Context::parse(context).map(|context| context.canonical_digest());
        recorded.is_ok_and(|digest| hex(&digest) != *whole)
    };
    payload.context_hash.as_ref().is_some_and(is_other)
        || payload.amount.as_deref() == Some(REDACTED)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rebuilds the request, with its numbers as they were written.
fn request(event: &Event, context: &str, payload: &Payload) -> Option<EvaluateRequest> {
    let agent = Agent::new(event.envelope.actor_id.as_deref()?).ok()?;
    let action = AnyAction::new(payload.action_type.clone()?).ok()?;
    let mut action = action.with_context(Context::parse(context).ok()?);
    if let Some(resource) = &event.envelope.resource_id {
        action = action.with_resource(resource);
    }
    let mut request = EvaluateRequest::new(agent, &action).ok()?;
    (request.options.environment).clone_from(&payload.environment);
    request.actors.clone_from(&payload.actors);
    request.shadow = payload.shadow;
    if let Some(amount) = &payload.amount {
        request.options.amount = Some(parse_amount(amount).ok()?);
    }
    check_fields(&request).ok()?;
    Some(request)
}

fn read(decision: &str) -> Option<Decision> {
    match decision {
        "allow" => Some(Decision::Allow),
        "deny" => Some(Decision::Deny),
        "hold" => Some(Decision::Hold),
        "escalate" => Some(Decision::Escalate),
        _ => None,
    }
}
