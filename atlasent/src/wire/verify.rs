//! The request of a verification, which serializes to the body of `POST /v1-verify-permit`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::Agent;
use crate::authority::issuer::RequestSerial;
use crate::wire::{EvaluateRequest, ExecutionHash, PermitToken};

/// The request of a verification: is this permit good for this agent and action? Verifying consumes
/// the permit.
///
/// The fields carry their names on the wire. `protect` always restates the action and the agent; a
/// request that does not restate one sends the empty string (contract, part B).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifyRequest {
    /// The token of the evaluation's allow.
    pub permit_token: PermitToken,
    /// The name of the action that the permit is to be used for; unset when it is not restated.
    #[serde(
        default,
        serialize_with = "empty_if_unset",
        deserialize_with = "unset_if_empty"
    )]
    pub action_type: Option<Cow<'static, str>>,
    /// The agent that is to use the permit; unset when it is not restated.
    #[serde(
        default,
        serialize_with = "empty_if_unset",
        deserialize_with = "unset_if_empty"
    )]
    pub actor_id: Option<Agent>,
    /// The environment of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The hash of the action, agent and context to execute; see
    /// [`execution_hash`](crate::wire::execution_hash).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_hash: Option<ExecutionHash>,
    /// Whether the permit must have a person's approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_approval: Option<bool>,
    /// The number that ties the mark of an [`Issuer`](crate::authority::Issuer) to this request.
    #[serde(skip)]
    pub(crate) serial: RequestSerial,
}

impl VerifyRequest {
    /// Creates a request that restates nothing.
    #[must_use]
    pub fn new(permit_token: PermitToken) -> Self {
        Self {
            permit_token,
            action_type: None,
            actor_id: None,
            environment: None,
            execution_hash: None,
            require_approval: None,
            serial: RequestSerial::default(),
        }
    }

    /// Creates the request for the permit of an evaluation. It restates action and agent, and
    /// contains the execution hash, and the environment if the context has one as a string.
    #[must_use]
    pub fn restating(request: &EvaluateRequest, permit_token: PermitToken) -> Self {
        Self {
            action_type: Some(request.action_type.clone()),
            actor_id: Some(request.actor_id.clone()),
            environment: request
                .context
                .get("environment")
                .and_then(Value::as_str)
                .map(str::to_owned),
            execution_hash: Some(request.execution_hash()),
            ..Self::new(permit_token)
        }
    }
}

/// Writes a name that is not restated as the empty string (contract, part B).
fn empty_if_unset<T: AsRef<str>, S: Serializer>(
    name: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_ref().map_or("", AsRef::as_ref))
}

/// Reads the empty string as a name that is not restated.
fn unset_if_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String, Error: fmt::Display>,
{
    let name = String::deserialize(deserializer)?;
    if name.is_empty() {
        return Ok(None);
    }
    T::try_from(name)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::AnyAction;

    #[test]
    fn a_bare_request_restates_nothing() {
        let request = VerifyRequest::new(PermitToken::new("p").unwrap());
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({"permit_token": "p", "action_type": "", "actor_id": ""})
        );
        for json in [
            json!({"permit_token": "p"}),
            json!({"permit_token": "p", "action_type": "", "actor_id": ""}),
        ] {
            assert_eq!(
                serde_json::from_value::<VerifyRequest>(json).unwrap(),
                request
            );
        }
    }

    #[test]
    fn a_restated_name_is_read_as_it_was_written() {
        let long = "x".repeat(257);
        let json = json!({"permit_token": "p", "action_type": long, "actor_id": "bot"});
        let request: VerifyRequest = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(request.action_type.as_deref(), Some(&*long));
        assert_eq!(request.actor_id, Some(Agent::new("bot").unwrap()));
        assert_eq!(serde_json::to_value(&request).unwrap(), json);
        for no_name in [json!(null), json!(7), json!(long)] {
            let json = json!({"permit_token": "p", "actor_id": no_name});
            assert!(serde_json::from_value::<VerifyRequest>(json).is_err());
        }
    }

    #[test]
    fn a_restating_request_binds_the_permit_to_the_evaluation() {
        let action = AnyAction::new("deploy.production")
            .unwrap()
            .with_field("environment", "production")
            .unwrap()
            .with_field("approved", &true)
            .unwrap();
        let request = EvaluateRequest::new(Agent::new("deploy-bot").unwrap(), &action).unwrap();
        let verify = VerifyRequest::restating(&request, PermitToken::new("p").unwrap());
        assert_eq!(
            serde_json::to_value(&verify).unwrap(),
            json!({
                "permit_token": "p", "action_type": "deploy.production", "actor_id": "deploy-bot",
                "environment": "production",
                "execution_hash": "494db7d7ba0b473840927d1febf48edd770e831178d2bd1ff7a3b80afbeddd7a"
            })
        );
    }

    #[test]
    fn an_environment_that_is_no_string_is_not_named() {
        let action = AnyAction::new("a")
            .unwrap()
            .with_field("environment", &1)
            .unwrap();
        let request = EvaluateRequest::new(Agent::new("b").unwrap(), &action).unwrap();
        let verify = VerifyRequest::restating(&request, PermitToken::new("p").unwrap());
        assert_eq!(verify.environment, None);
    }
}
