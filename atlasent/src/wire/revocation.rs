//! The answer to the revocation of a permit.

use serde::{Deserialize, Serialize};

use crate::json::object::Object;
use crate::wire::{PermitToken, RateLimit};

/// The result of a revocation: the answer to `POST /v1-revoke-permit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Object<WireRevocation>")]
#[non_exhaustive]
pub struct Revocation {
    /// Whether the permit was revoked. It is false for a permit that is consumed, expired, already
    /// revoked by another call, or unknown.
    pub revoked: bool,
    /// The token of the permit.
    pub decision_id: PermitToken,
    /// The time of the revocation (ISO 8601). For a permit that was revoked before, `atlasent
    /// serve` sends the time of the first revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// The hash of the audit event that recorded the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_hash: Option<String>,
    /// The state of the rate limit, from the headers of the answer.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl Revocation {
    /// Creates the answer for a permit.
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
