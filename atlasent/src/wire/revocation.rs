//! The answer to a permit that is taken back.

use serde::{Deserialize, Serialize};

use crate::json::object::Object;
use crate::wire::{PermitToken, RateLimit};

/// What became of a permit that was to be taken back: the answer to `POST /v1-revoke-permit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Object<WireRevocation>")]
#[non_exhaustive]
pub struct Revocation {
    /// Whether it was taken back. A permit that was used, expired, revoked before or never known is not.
    pub revoked: bool,
    /// The permit.
    pub decision_id: PermitToken,
    /// When it was taken back (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// The hash of the audit event that recorded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_hash: Option<String>,
    /// How much of the rate limit is left. It stands in the answer's headers, not in its body.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl Revocation {
    /// An answer about this permit.
    #[must_use]
    pub fn new(decision_id: PermitToken, revoked: bool) -> Self {
        Self {
            revoked,
            decision_id,
            revoked_at: None,
            audit_hash: None,
            rate_limit: None,
        }
    }
}

#[derive(Deserialize)]
struct WireRevocation {
    revoked: bool,
    decision_id: PermitToken,
    revoked_at: Option<String>,
    audit_hash: Option<String>,
}

impl From<Object<WireRevocation>> for Revocation {
    fn from(Object(wire): Object<WireRevocation>) -> Self {
        Self {
            revoked_at: wire.revoked_at,
            audit_hash: wire.audit_hash,
            ..Self::new(wire.decision_id, wire.revoked)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<Revocation, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn an_answer_says_whether_and_which() {
        let full =
            json!({"revoked": true, "decision_id": "p", "revoked_at": "t", "audit_hash": "h"});
        assert_eq!(
            serde_json::to_value(read(full.clone()).unwrap()).unwrap(),
            full
        );
        let least = json!({"revoked": false, "decision_id": "p", "revoked_at": null, "more": []});
        assert!(!read(least).unwrap().revoked);
        for wrong in [
            json!({"decision_id": "p"}),
            json!({"revoked": true}),
            json!({"revoked": "true", "decision_id": "p"}),
            json!({"revoked": true, "decision_id": 7}),
            json!([true, "p", null, null]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
