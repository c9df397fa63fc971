//! What approvers see of a request, as a store keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What approvers see of a request: a JSON object, as text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShownText {
    /// The text.
    Readable(String),
    /// The text, encrypted with a key of the operator. Stores hold it, and the authority opens it
    /// before it returns a decision. A decision that is returned with it was sealed with a key that
    /// the authority does not have.
    Sealed(SealedText),
}

impl ShownText {
    /// Returns the text. `None` if it is sealed.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Readable(text) => Some(text),
            Self::Sealed(_) => None,
        }
    }

    /// Returns how many bytes a store keeps of the text.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Readable(text) => text.len(),
            Self::Sealed(sealed) => sealed.sealed.len(),
        }
    }
}

impl From<String> for ShownText {
    fn from(text: String) -> Self {
        Self::Readable(text)
    }
}

/// Prints the length of the text, which may be confidential.
impl fmt::Debug for ShownText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable(text) => write!(f, "Readable({} bytes)", text.len()),
            Self::Sealed(sealed) => f.debug_tuple("Sealed").field(sealed).finish(),
        }
    }
}

/// A text that is encrypted with a key of the operator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedText {
    /// The id of the key.
    pub key_id: String,
    /// The nonce, the encrypted text and its tag, in Base64.
    pub(crate) sealed: String,
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedText")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
