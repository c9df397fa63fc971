//! What became of a permit after it was verified.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a permit in its authority's ledger (contract, part D).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum PermitStatus {
    /// It was granted and not used yet.
    Issued,
    /// It was verified.
    Verified,
    /// It was verified, and so used up.
    Consumed,
    /// Its time passed before it was used.
    Expired,
    /// It was revoked.
    Revoked,
    /// A word that this version does not know. It is never good.
    Other(String),
}

impl PermitStatus {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Issued => "issued",
            Self::Verified => "verified",
            Self::Consumed => "consumed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for PermitStatus {
    fn from(word: String) -> Self {
        match &*word {
            "issued" => Self::Issued,
            "verified" => Self::Verified,
            "consumed" => Self::Consumed,
            "expired" => Self::Expired,
            "revoked" => Self::Revoked,
            _ => Self::Other(word),
        }
    }
}

impl From<PermitStatus> for String {
    fn from(status: PermitStatus) -> Self {
        match status {
            PermitStatus::Other(word) => word,
            known => known.as_str().to_owned(),
        }
    }
}

impl fmt::Display for PermitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_str().escape_debug())
    }
}
