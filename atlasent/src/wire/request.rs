//! The request of an evaluation, which serializes to the body of `POST /v1-evaluate`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::agent::check_name;
use crate::wire::execution_hash::execution_digest;
use crate::wire::{ExecutionHash, RequestOptions};
use crate::{Action, Agent, Context, Error};

/// The request of an evaluation: may the agent `actor_id` do the action `action_type` in `context`?
///
/// The fields carry their names on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvaluateRequest {
    /// The action's name, 1 to 256 characters.
    #[serde(deserialize_with = "action_name")]
    pub action_type: Cow<'static, str>,
    /// The agent that asks.
    pub actor_id: Agent,
    /// The context of the action.
    #[serde(default)]
    pub context: Context,
    /// The resource of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// The agents that act for the agent, by delegation, the current one first. Policies see them
    /// as `context.actors`. Empty for an agent that acts itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Agent>,
    /// Whether to decide only, without issuing a permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// The optional fields.
    #[serde(flatten)]
    pub options: RequestOptions,
}

impl EvaluateRequest {
    /// Creates the request whether `agent` may do `action`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the action's name or context breaks a rule of the contract.
    pub fn new<A: Action + ?Sized>(agent: Agent, action: &A) -> Result<Self, Error> {
        let name = action.name_for_request();
        check_name("action", &name)?;
        Ok(Self {
            action_type: name,
            actor_id: agent,
            context: action.context()?,
            resource_id: action.resource().map(Cow::into_owned),
            actors: Vec::new(),
            shadow: None,
            options: RequestOptions::default(),
        })
    }

    /// Adds optional fields. The values of a later call win, except that
    /// [`RequestOptions::require_approval`] stays true once it is.
    #[must_use]
    pub fn with_options(mut self, options: RequestOptions) -> Self {
        self.options.merge(options);
        self
    }

    /// Sets the agents that act for the agent, the current one first. A second call replaces them.
    ///
    /// They come from a verified token: `Ask::claims` (feature `ati`) sets them.
    #[must_use]
    pub fn with_actors(mut self, actors: impl IntoIterator<Item = Agent>) -> Self {
        self.actors = actors.into_iter().collect();
        self
    }

    /// Sets whether to decide only, without issuing a permit. `protect` never does.
    #[must_use]
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = Some(shadow);
        self
    }

    /// Refuses a request for which setting an option failed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.options.check()
    }

    /// Returns the hash that a permit for this request is bound to; see
    /// [`execution_hash`](crate::wire::execution_hash).
    #[must_use]
    pub fn execution_hash(&self) -> ExecutionHash {
        ExecutionHash::from_digest(self.execution_digest())
    }

    /// Returns the bytes of the [execution hash](Self::execution_hash).
    #[must_use]
    pub fn execution_digest(&self) -> [u8; 32] {
        execution_digest(&self.action_type, self.actor_id.as_str(), &self.context)
    }
}

fn action_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_name("action", &name).map_err(serde::de::Error::custom)?;
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::AnyAction;

    #[test]
    fn the_smallest_request_has_three_fields() {
        let agent = Agent::new("deploy-bot").unwrap();
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(agent, &action).unwrap();
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({"action_type": "deploy", "actor_id": "deploy-bot", "context": {}})
        );
    }

    #[test]
    fn a_set_option_stands_beside_the_three() {
        let agent = Agent::new("a").unwrap();
        let action = AnyAction::new("b").unwrap().with_resource("r");
        let options = RequestOptions::default()
            .environment("prod")
            .amount(5)
            .explain(true);
        let request = EvaluateRequest::new(agent, &action)
            .unwrap()
            .with_options(options);
        let json = json!({
            "action_type": "b", "actor_id": "a", "context": {}, "resource_id": "r",
            "environment": "prod", "amount": 5, "explain": true
        });
        assert_eq!(serde_json::to_value(&request).unwrap(), json);
        assert_eq!(
            serde_json::from_value::<EvaluateRequest>(json).unwrap(),
            request
        );
    }

    #[test]
    fn the_actors_stand_beside_the_context() {
        let action = AnyAction::new("b").unwrap();
        let request = EvaluateRequest::new(Agent::new("a").unwrap(), &action).unwrap();
        let request =
            request.with_actors(["second", "first"].map(|name| Agent::new(name).unwrap()));
        let json = json!({
            "action_type": "b", "actor_id": "a", "context": {}, "actors": ["second", "first"]
        });
        assert_eq!(serde_json::to_value(&request).unwrap(), json);
        assert_eq!(
            serde_json::from_value::<EvaluateRequest>(json).unwrap(),
            request
        );
    }

    #[test]
    fn options_that_are_added_in_two_calls_all_hold() {
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let options = RequestOptions::default;
        let request = request
            .with_options(options().environment("test").require_approval(true))
            .with_options(options().environment("production").require_approval(false))
            .with_options(options().amount(5));
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({"action_type": "deploy", "actor_id": "bot", "context": {}, "environment": "production",
                "require_approval": true, "amount": 5})
        );
        let shadow = request.shadow(true).shadow(false);
        assert_eq!(shadow.shadow, Some(false));
    }

    #[test]
    fn a_key_that_stands_twice_in_a_request_is_an_error() {
        for field in [
            r#""context":{"a":1,"a":2}"#,
            r#""context":{},"state_snapshot":{"a":{"b":1,"b":2}}"#,
            r#""context":{},"approval":[{"b":1,"b":2}]"#,
            r#""context":{},"context":{}"#,
            r#""context":{},"amount":1,"amount":2"#,
        ] {
            let text = format!(r#"{{"action_type":"a","actor_id":"b",{field}}}"#);
            assert!(
                serde_json::from_str::<EvaluateRequest>(&text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_request_with_a_bad_name_is_not_read() {
        for (action, agent) in [("", "a"), ("a", ""), (&*"x".repeat(257), "a")] {
            let json = json!({"action_type": action, "actor_id": agent, "context": {}});
            assert!(serde_json::from_value::<EvaluateRequest>(json).is_err());
        }
    }
}
