//! The scope of a stop: an agent, an action, or everything.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Action as _, Agent, AnyAction, Error};

/// The scope of a stop: all actions of one agent, one action of all agents, or everything.
///
/// ```
/// use atlasent::wire::StopScope;
///
/// let scope = StopScope::agent("deploy-bot")?;
/// assert!(scope.covers("deploy-bot", "deploy.production"));
/// assert!(!scope.covers("other-bot", "deploy.production"));
/// assert!(StopScope::all().covers("other-bot", "deploy.production"));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "WireScope", into = "WireScope")]
pub struct StopScope(Covered);

/// The variants of a scope. They are private, since public ones named `Agent` and `Action` would be
/// confused with the types of these names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Covered {
    Agent(String),
    Action(String),
    All,
}

/// A scope on the wire: exactly one of the three fields is set (contract, part D).
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct WireScope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) all: Option<bool>,
}

impl StopScope {
    /// Creates the scope of all actions of one agent.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the name is empty or longer than 256 characters.
    pub fn agent(agent: impl Into<String>) -> Result<Self, Error> {
        let agent = Agent::new(agent.into())?;
        Ok(Self(Covered::Agent(agent.as_str().to_owned())))
    }

    /// Creates the scope of one action of all agents.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the name is empty or longer than 256 characters.
    pub fn action(action: impl Into<String>) -> Result<Self, Error> {
        let action = AnyAction::new(action.into())?;
        Ok(Self(Covered::Action(action.name().to_owned())))
    }

    /// Creates the scope of every action of every agent.
    #[must_use]
    pub const fn all() -> Self {
        Self(Covered::All)
    }

    /// Returns whether the scope covers this action of this agent.
    #[must_use]
    pub fn covers(&self, agent: &str, action: &str) -> bool {
        match &self.0 {
            Covered::Agent(stopped) => stopped == agent,
            Covered::Action(stopped) => stopped == action,
            Covered::All => true,
        }
    }

    /// Returns the agent, if the scope is that of one agent.
    #[must_use]
    pub fn agent_id(&self) -> Option<&str> {
        match &self.0 {
            Covered::Agent(agent) => Some(agent),
            _ => None,
        }
    }

    /// Returns the action, if the scope is that of one action.
    #[must_use]
    pub fn action_type(&self) -> Option<&str> {
        match &self.0 {
            Covered::Action(action) => Some(action),
            _ => None,
        }
    }
}

/// Writes `agent deploy-bot`, `action deploy.production` or `everything`.
impl fmt::Display for StopScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Covered::Agent(agent) => write!(f, "agent {}", crate::text::Escaped::new(agent)),
            Covered::Action(action) => write!(f, "action {}", crate::text::Escaped::new(action)),
            Covered::All => f.write_str("everything"),
        }
    }
}

impl TryFrom<WireScope> for StopScope {
    type Error = String;

    fn try_from(wire: WireScope) -> Result<Self, String> {
        let read = match (wire.agent_id, wire.action_type, wire.all) {
            (Some(agent), None, None | Some(false)) => Self::agent(agent),
            (None, Some(action), None | Some(false)) => Self::action(action),
            (None, None, Some(true)) => Ok(Self::all()),
            _ => {
                return Err(
                    "exactly one of `agent_id`, `action_type` and `all: true` has to say what is covered"
                        .to_owned(),
                );
            }
        };
        read.map_err(|error| error.to_string())
    }
}

impl From<StopScope> for WireScope {
    fn from(scope: StopScope) -> Self {
        let mut wire = Self::default();
        match scope.0 {
            Covered::Agent(agent) => wire.agent_id = Some(agent),
            Covered::Action(action) => wire.action_type = Some(action),
            Covered::All => wire.all = Some(true),
        }
        wire
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scope_is_written_as_it_is_read_and_is_one_of_three() {
        for json in [
            json!({"agent_id": "bot"}),
            json!({"action_type": "deploy"}),
            json!({"all": true}),
        ] {
            let scope: StopScope = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(&scope).unwrap(), json);
        }
        for json in [
            json!({}),
            json!({"all": false}),
            json!({"all": true, "agent_id": "bot"}),
            json!({"agent_id": "bot", "action_type": "deploy"}),
            json!({"agent_id": ""}),
            json!({"action_type": "x".repeat(257)}),
            json!({"all": "yes"}),
        ] {
            assert!(
                serde_json::from_value::<StopScope>(json.clone()).is_err(),
                "{json}"
            );
        }
    }
}
