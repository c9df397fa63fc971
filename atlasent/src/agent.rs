//! The name of an agent, checked when it is created.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::Error;

/// The maximum length of an agent's or an action's name, in characters.
pub(crate) const MAX_NAME: usize = 256;

/// The name of an agent: 1 to 256 characters. On the wire it is `actor_id`.
///
/// `Display` writes the name unescaped, so that `to_string` returns the name. A name may contain
/// line breaks and terminal controls: print it for people with [`Escaped`](crate::text::Escaped),
/// as every error does. An agent compares with the `str` of its name.
///
/// ```
/// use atlasent::Agent;
///
/// let agent = Agent::new("deploy-bot")?;
/// assert_eq!(agent, "deploy-bot");
/// assert!(Agent::new("").is_err());
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Agent(Arc<str>);

impl Agent {
    /// Creates an agent from its name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the name is empty or longer than 256 characters.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, Error> {
        let name = name.into();
        check_name("agent", &name)?;
        Ok(Self(name))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the length of an agent's or an action's name (contract, part B: 1 to 256 characters).
pub(crate) fn check_name(kind: &str, name: &str) -> Result<(), Error> {
    // A name has at most as many characters as bytes, so only long names are counted.
    if name.is_empty() {
        return Err(Error::invalid(format!("the {kind} is empty: name it")));
    }
    if name.len() > MAX_NAME && name.chars().nth(MAX_NAME).is_some() {
        return Err(Error::invalid(format!(
            "the {kind} `{}` has more than {MAX_NAME} characters: shorten it",
            crate::text::redact::excerpt(name)
        )));
    }
    Ok(())
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Agent {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Agent {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Agent {
    fn eq(&self, name: &str) -> bool {
        self.as_str() == name
    }
}

impl PartialEq<&str> for Agent {
    fn eq(&self, name: &&str) -> bool {
        self.as_str() == *name
    }
}

impl PartialEq<Agent> for str {
    fn eq(&self, agent: &Agent) -> bool {
        self == agent.as_str()
    }
}

impl PartialEq<Agent> for &str {
    fn eq(&self, agent: &Agent) -> bool {
        *self == agent.as_str()
    }
}

impl TryFrom<String> for Agent {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl From<Agent> for String {
    fn from(agent: Agent) -> Self {
        agent.0.as_ref().to_owned()
    }
}

impl From<Agent> for Arc<str> {
    fn from(agent: Agent) -> Self {
        agent.0
    }
}

impl Serialize for Agent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A value that names an agent: a string of any kind, or an [`Agent`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name an agent",
    label = "an agent is named by a string or an `atlasent::Agent`",
    note = "pass the name itself, such as `agent = \"deploy-bot\"` or `agent = claims.sub()`"
)]
pub trait ToAgent {
    /// Returns the agent of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the name is empty or longer than 256 characters.
    fn to_agent(&self) -> Result<Agent, Error>;
}

impl ToAgent for Agent {
    fn to_agent(&self) -> Result<Agent, Error> {
        Ok(self.clone())
    }
}

impl ToAgent for Arc<str> {
    fn to_agent(&self) -> Result<Agent, Error> {
        Agent::new(Self::clone(self))
    }
}

impl<T: ToAgent + ?Sized> ToAgent for &T {
    fn to_agent(&self) -> Result<Agent, Error> {
        T::to_agent(self)
    }
}

macro_rules! to_agent_from_text {
    ($($text:ty),*) => {$(
        impl ToAgent for $text {
            fn to_agent(&self) -> Result<Agent, Error> {
                let name: &str = self.as_ref();
                Agent::new(name)
            }
        }
    )*};
}

to_agent_from_text!(str, String, Box<str>, Cow<'_, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_256_characters_not_bytes() {
        assert!(Agent::new("").is_err());
        assert!(Agent::new("ü".repeat(256)).is_ok());
        assert!(Agent::new("ü".repeat(257)).is_err());
    }

    #[test]
    fn an_agent_read_from_json_is_checked_too() {
        assert!(serde_json::from_str::<Agent>(r#""""#).is_err());
        assert_eq!(
            serde_json::from_str::<Agent>(r#""a""#).unwrap().as_str(),
            "a"
        );
    }

    #[test]
    fn an_agent_equals_its_name_and_no_other() {
        let agent = Agent::new("deploy-bot").unwrap();
        let name: &str = "deploy-bot";
        assert_eq!(agent, *name);
        assert_eq!(agent, name);
        assert_eq!(*name, agent);
        assert_eq!(name, agent);
        assert!(agent != *"deploy" && agent != "Deploy-bot" && "deploy-bot " != agent);
    }

    #[test]
    fn every_kind_of_string_names_an_agent() {
        let agents = [
            "a".to_agent(),
            String::from("a").to_agent(),
            Cow::Borrowed("a").to_agent(),
            Box::<str>::from("a").to_agent(),
            Arc::<str>::from("a").to_agent(),
            (&&"a").to_agent(),
            Agent::new("a").unwrap().to_agent(),
        ];
        assert!(
            agents
                .into_iter()
                .all(|agent| agent.unwrap().0 == "a".into())
        );
    }
}
