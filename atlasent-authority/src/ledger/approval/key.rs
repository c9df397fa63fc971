//! The ids of pending decisions, and their keys in stores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The id of a pending decision: `esc_` and 32 hex digits.
///
/// ```
/// use atlasent_authority::store::EscalationId;
///
/// let id = EscalationId::random();
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EscalationId(u128);

impl EscalationId {
    /// Draws a new id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// Returns the key of the pending decision in stores.
    #[must_use]
    pub fn key(&self) -> ApprovalKey {
        ApprovalKey(Sha256::digest(self.0.to_be_bytes()).into())
    }
}

impl fmt::Display for EscalationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "esc_{:032x}", self.0)
    }
}

impl From<EscalationId> for String {
    fn from(id: EscalationId) -> Self {
        id.to_string()
    }
}

impl FromStr for EscalationId {
    type Err = InvalidEscalationId;

    fn from_str(text: &str) -> Result<Self, InvalidEscalationId> {
        let hex = text.strip_prefix("esc_").ok_or(InvalidEscalationId)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != 32 || !hex.bytes().all(is_hex) {
            return Err(InvalidEscalationId);
        }
        u128::from_str_radix(hex, 16)
            .map(Self)
            .map_err(|_| InvalidEscalationId)
    }
}

impl TryFrom<String> for EscalationId {
    type Error = InvalidEscalationId;

    fn try_from(text: String) -> Result<Self, InvalidEscalationId> {
        text.parse()
    }
}

/// The error for a text that is not the id of a pending decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of an escalation is `esc_` and 32 lower-case hex digits")]
pub struct InvalidEscalationId;

/// The key of a pending decision in stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalKey([u8; 32]);

impl ApprovalKey {
    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_the_text_that_it_writes_and_from_nothing_else() {
        let id = EscalationId::random();
        let text = id.to_string();
        assert_eq!(text.len(), "esc_".len() + 32);
        assert_eq!(text.parse(), Ok(id));
        for text in [
            "",
            "esc_",
            "esc_+0000000000000000000000000000000",
            &text.to_uppercase(),
            &format!("{text}0"),
            text.strip_prefix("esc_").unwrap(),
        ] {
            assert_eq!(
                text.parse::<EscalationId>(),
                Err(InvalidEscalationId),
                "{text}"
            );
        }
    }

    #[test]
    fn no_two_ids_have_one_key() {
        assert_ne!(EscalationId::random().key(), EscalationId::random().key());
    }
}
