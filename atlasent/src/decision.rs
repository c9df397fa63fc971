//! What an authority can answer. Nothing else is an answer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The answer of an authority to one request.
///
/// The enum is exhaustive on purpose: a new outcome must break the builds of those who match on it,
/// rather than fall into a catch-all arm that lets it through.
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
    /// The action may run once, with the permit that came along.
    Allow,
    /// The action may not run.
    Deny,
    /// The action may not run yet: something, often a person, must release it first.
    Hold,
    /// The action may not run on this authority's word: someone with more authority has to decide.
    Escalate,
}

impl Decision {
    /// The word that stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
            Self::Escalate => "escalate",
        }
    }

    /// The decision that an answer names, or that its older `permitted` stands for (contract, part A, Reading
    /// answers). Two that contradict each other are none.
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

    /// Whether this is [`Decision::Allow`]. An allow alone opens nothing: only a [`Permit`](crate::Permit) does.
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
