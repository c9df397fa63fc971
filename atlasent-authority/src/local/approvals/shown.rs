//! What approvers see of a request.

use atlasent::Agent;
use atlasent::wire::EvaluateRequest;
use base16ct::lower;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::local::caller::Caller;
use crate::policy::{ApprovalRule, REDACTED, RedactedContext, redacts};

/// The maximum length of what approvers see of one request, in bytes. A larger request is denied,
/// not held: people do not read that much, and a store would keep it for a month.
pub(super) const MAX_SHOWN: usize = 65_536;

/// What approvers see of a request: JSON, without the values that the policies redact, and without
/// the secret of the caller.
pub(super) struct Shown {
    pub(super) text: String,
    /// The SHA-256 of the text, in lower-case hex.
    pub(super) hash: String,
}

impl Shown {
    pub(super) fn new(
        request: &EvaluateRequest,
        rules: &[ApprovalRule],
        caller: &Caller<'_>,
    ) -> Self {
        let options = &request.options;
        // It reaches the policies as a member of the context, and is redacted like one.
        let amount = options.amount.as_ref().map(|amount| {
            let is_hidden = redacts(rules, "amount");
            if is_hidden {
                quoted(REDACTED)
            } else {
                let written = options.written_amount().map(str::to_owned);
                written.unwrap_or_else(|| amount.to_string())
            }
        });
        let actors = Some(&request.actors).filter(|actors| !actors.is_empty());
        let actors = actors.map(|names| names.iter().map(Agent::as_str).collect::<Value>());
        let context = RedactedContext::new(&request.context.canonical_json(), rules);
        // The keys are in the order of their code points, and the context keeps the text of its
        // numbers, as `serde_json` would not.
        let members = [
            ("action_type", Some(quoted(&request.action_type))),
            ("actor_id", Some(quoted(request.actor_id.as_str()))),
            ("actors", actors.map(|names| names.to_string())),
            ("amount", amount),
            ("context", Some(context.json().to_owned())),
            ("environment", options.environment.as_deref().map(quoted)),
            ("resource_id", request.resource_id.as_deref().map(quoted)),
        ];
        let members = members.iter().filter_map(|(name, value)| {
            let value = value.as_ref()?;
            Some(format!(r#""{name}":{value}"#))
        });
        let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        let text = caller.without_secret(text);
        let hash = lower::encode_string(&Sha256::digest(&text));
        Self { text, hash }
    }
}

/// Returns a text as JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
