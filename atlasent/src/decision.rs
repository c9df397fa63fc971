//! The four decisions that an authority can make.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The decision of an authority on one request.
///
/// The enum is exhaustive on purpose: a new decision must break the builds that match on it,
/// instead of reaching a catch-all arm that lets it through.
///
/// ```
/// use atlasent::Decision;
///
/// assert_eq!("hold".parse::<Decision>()?, Decision::Hold);
/// assert!("maybe".parse::<Decision>().is_err());
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The action may run once, with the permit of the answer.
    Allow,
    /// The action must not run.
    Deny,
    /// The action must not run yet: a person or an event has to release it first.
    Hold,
    /// The action must not run: a person or an authority with more power has to decide.
    Escalate,
}

impl Decision {
    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
            Self::Escalate => "escalate",
        }
    }

    /// Reads the decision of an answer from `decision`, or from the `permitted` of older servers
    /// (contract, part A, Reading answers). An answer in which the two contradict each other is an
    /// error.
    pub(crate) fn from_answer(
        decision: Option<Self>,
        permitted: Option<bool>,
    ) -> Result<Self, &'static str> {
        match (decision, permitted) {
            (Some(decision), Some(permitted)) if decision.is_allow() != permitted => {
                Err("`decision` and `permitted` contradict each other")
            }
            (Some(decision), _) => Ok(decision),
            (None, Some(true)) => Ok(Self::Allow),
            (None, Some(false)) => Ok(Self::Deny),
            (None, None) => Err("there is neither a `decision` nor a boolean `permitted`"),
        }
    }

    /// Returns whether this is [`Decision::Allow`]. To run the action, an allow is not enough: it
    /// takes a [`Permit`](crate::Permit).
    #[must_use]
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Decision {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            "hold" => Ok(Self::Hold),
            "escalate" => Ok(Self::Escalate),
            _ => Err(Error::invalid(format!(
                "unknown decision `{}`: expected `allow`, `deny`, `hold` or `escalate`",
                crate::text::redact::excerpt(word)
            ))),
        }
    }
}
