//! A public key that verifies signed exports.

use serde::{Deserialize, Serialize};

/// A public key that verifies signed exports, as `GET /v1-signing-keys` sends it (contract, part
/// B).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PublicKey {
    /// The key's id, which a bundle names as its `signing_key_id`.
    pub key_id: String,
    /// The algorithm: `Ed25519`.
    pub algorithm: String,
    /// The key (SPKI, PEM).
    pub public_key_pem: String,
    /// `active` if the key signs new exports, `retired` if it does not any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When the key was created, or first used by this authority (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
}

impl PublicKey {
    /// Creates an Ed25519 key, without a status and a time.
    #[must_use]
    pub fn new(key_id: impl Into<String>, public_key_pem: impl Into<String>) -> Self {
        Self {
            key_id: key_id.into(),
            algorithm: "Ed25519".to_owned(),
            public_key_pem: public_key_pem.into(),
            status: None,
            created_at: None,
        }
    }
}
