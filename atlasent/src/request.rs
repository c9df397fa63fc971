//! The first question to an authority: may this agent do that? It serializes to the body of
//! `POST /v1-evaluate`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::agent::check_name;
use crate::{Action, Agent, Context, Error};

/// The question: may `actor_id` do `action_type` in `context`?
///
/// The fields carry their names on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvaluateRequest {
    /// The action's name, 1 to 256 characters.
    #[serde(deserialize_with = "action_name")]
    pub action_type: String,
    /// The agent who asks.
    pub actor_id: Agent,
    /// The circumstances.
    #[serde(default)]
    pub context: Context,
    /// What the action is done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Evaluate only, and mint no permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// The optional fields, all of which come from [`RequestOptions`].
    #[serde(flatten)]
    pub options: RequestOptions,
}

impl EvaluateRequest {
    /// The question whether `agent` may do `action`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the action's name or context breaks a rule of the contract.
    pub fn new<A: Action + ?Sized>(agent: Agent, action: &A) -> Result<Self, Error> {
        let name = action.name();
        check_name("action", name)?;
        Ok(Self {
            action_type: name.to_owned(),
            actor_id: agent,
            context: action.context()?,
            resource_id: action.resource().map(std::borrow::Cow::into_owned),
            shadow: None,
            options: RequestOptions::default(),
        })
    }

    /// Adds the optional fields.
    #[must_use]
    pub fn with_options(mut self, options: RequestOptions) -> Self {
        self.options = options;
        self
    }

    /// Asks for the decision only. No permit can come of it, so `protect` never asks this way.
    #[must_use]
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = Some(shadow);
        self
    }

    /// What a permit for this request is bound to: see [`execution_hash`](crate::execution_hash).
    #[must_use]
    pub fn execution_hash(&self) -> String {
        crate::execution_hash(&self.action_type, self.actor_id.as_str(), &self.context)
    }
}

fn action_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_name("action", &name).map_err(serde::de::Error::custom)?;
    Ok(name)
}

macro_rules! request_options {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// The optional fields of a request. None of them can change the agent, the action, the resource
        /// or the context.
        ///
        /// ```
        /// use atlasent::RequestOptions;
        ///
        /// let options = RequestOptions::default().environment("production").require_approval(true);
        /// assert_eq!(options.environment.as_deref(), Some("production"));
        /// ```
        #[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub struct RequestOptions {$(
            $(#[$doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,
        )*}

        impl RequestOptions {$(
            $(#[$doc])*
            #[must_use]
            pub fn $field(mut self, $field: impl Into<$type>) -> Self {
                self.$field = Some($field.into());
                self
            }
        )*}

        /// Prints the names of the options that are set, as a context does: a state may be anything, too.
        impl fmt::Debug for RequestOptions {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let set = [$(self.$field.as_ref().map(|_| stringify!($field))),*];
                f.write_str("RequestOptions")?;
                f.debug_set().entries(set.into_iter().flatten()).finish()
            }
        }
    };
}

request_options! {
    /// The environment that the action runs in, such as `production`.
    environment: String,
    /// The amount of money or units at stake, as a JSON number.
    amount: serde_json::Number,
    /// The caller's id for this request; a repeated one replays the first answer.
    request_id: String,
    /// What the caller knows of the state that the action meets.
    state_snapshot: Value,
    /// Asks the authority to explain its decision.
    explain: bool,
    /// An approval that was already given.
    approval: Value,
    /// Asks for a person's approval, whatever the policies say.
    require_approval: bool,
    /// The resource in full, where its id is not enough for the policies.
    resource: Value,
    /// The state before the action.
    current_state: Value,
    /// The state that the action would bring about.
    proposed_state: Value,
    /// What the execution is bound to beyond action, agent and context.
    execution_binding: Value,
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
    fn a_request_with_a_bad_name_is_not_read() {
        for (action, agent) in [("", "a"), ("a", ""), (&*"x".repeat(257), "a")] {
            let json = json!({"action_type": action, "actor_id": agent, "context": {}});
            assert!(serde_json::from_value::<EvaluateRequest>(json).is_err());
        }
    }
}
