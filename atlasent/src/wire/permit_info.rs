//! The data of a permit in the authority's ledger.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::object::ObjectAndOthers;
use crate::wire::{OtherFields, PermitToken, RateLimit};

/// The data of a permit in the authority's ledger: the answer to `GET /v1/permits/{id}`.
///
/// It cannot become a [`Permit`](crate::Permit), whatever its status is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ObjectAndOthers<WirePermit>")]
#[non_exhaustive]
pub struct PermitInfo {
    /// The public id (`pt_…`), which differs from the token.
    pub id: String,
    /// The organization.
    pub org_id: String,
    /// The agent of the permit.
    pub actor_id: String,
    /// The action of the permit.
    pub action_id: String,
    /// The resource of the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// The environment of the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The status of the permit.
    pub status: PermitStatus,
    /// The time when the permit was issued (ISO 8601).
    pub issued_at: String,
    /// The time when the permit expires (ISO 8601).
    pub expires_at: String,
    /// The time when the permit was consumed (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed_at: Option<String>,
    /// The time when the permit was revoked (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// The user or API key that revoked the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// The reason of the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_reason: Option<String>,
    /// The hash of the action, agent and context of the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
    /// The id of the evaluation that issued the permit. Older services send the permit's token
    /// here, so it prints redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<PermitToken>,
    /// The fields of the answer that this version does not know.
    #[serde(flatten)]
    pub other: OtherFields,
    /// The state of the rate limit, from the headers of the answer.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl PermitInfo {
    /// Creates the data of a permit, with the optional fields unset.
    ///
    /// ```
    /// use atlasent::wire::{PermitInfo, PermitStatus};
    ///
    /// let mut permit = PermitInfo::new(
    ///     "pt_ba7816bf8f01cfea414140de5dae2223", "local", "deploy-bot", "deploy.production",
    ///     PermitStatus::Issued, "2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z",
    /// );
    /// permit.environment = Some("production".to_owned());
    /// ```
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        org_id: impl Into<String>,
        actor_id: impl Into<String>,
        action_id: impl Into<String>,
        status: PermitStatus,
        issued_at: impl Into<String>,
        expires_at: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            org_id: org_id.into(),
            actor_id: actor_id.into(),
            action_id: action_id.into(),
            target_id: None,
            environment: None,
            status,
            issued_at: issued_at.into(),
            expires_at: expires_at.into(),
            consumed_at: None,
            revoked_at: None,
            revoked_by: None,
            revoke_reason: None,
            payload_hash: None,
            decision_id: None,
            other: OtherFields::default(),
            rate_limit: None,
        }
    }
}

#[derive(Deserialize)]
struct WirePermit {
    id: String,
    org_id: String,
    actor_id: String,
    action_id: String,
    target_id: Option<String>,
    environment: Option<String>,
    status: PermitStatus,
    issued_at: String,
    expires_at: String,
    consumed_at: Option<String>,
    revoked_at: Option<String>,
    revoked_by: Option<String>,
    revoke_reason: Option<String>,
    payload_hash: Option<String>,
    decision_id: Option<PermitToken>,
}

impl From<ObjectAndOthers<WirePermit>> for PermitInfo {
    fn from(ObjectAndOthers { known: wire, other }: ObjectAndOthers<WirePermit>) -> Self {
        Self {
            id: wire.id,
            org_id: wire.org_id,
            actor_id: wire.actor_id,
            action_id: wire.action_id,
            target_id: wire.target_id,
            environment: wire.environment,
            status: wire.status,
            issued_at: wire.issued_at,
            expires_at: wire.expires_at,
            consumed_at: wire.consumed_at,
            revoked_at: wire.revoked_at,
            revoked_by: wire.revoked_by,
            revoke_reason: wire.revoke_reason,
            payload_hash: wire.payload_hash,
            decision_id: wire.decision_id,
            other: OtherFields::new(other),
            rate_limit: None,
        }
    }
}

/// The status of a permit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PermitStatus {
    /// The permit was issued and is unused.
    Issued,
    /// The permit was verified and is not consumed. Some services do not tell this from `Consumed`.
    Verified,
    /// The permit was consumed.
    Consumed,
    /// The permit expired.
    Expired,
    /// The permit was revoked.
    Revoked,
    /// A status that this version does not know. It never counts as good.
    Unknown(String),
}

impl PermitStatus {
    const KNOWN: [Self; 5] = [
        Self::Issued,
        Self::Verified,
        Self::Consumed,
        Self::Expired,
        Self::Revoked,
    ];

    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Issued => "issued",
            Self::Verified => "verified",
            Self::Consumed => "consumed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unknown(word) => word,
        }
    }

    /// Returns whether the permit can still be used: `Issued` or `Verified`.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Issued | Self::Verified)
    }
}

impl From<String> for PermitStatus {
    fn from(word: String) -> Self {
        let known = Self::KNOWN
            .into_iter()
            .find(|status| status.as_str() == word);
        known.unwrap_or(Self::Unknown(word))
    }
}

/// Writes the word on the wire. An unknown one is escaped and shortened.
impl fmt::Display for PermitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&crate::text::redact::excerpt(self.as_str()), f)
    }
}

impl Serialize for PermitStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PermitStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn least() -> Value {
        json!({"id": "pt_1", "org_id": "o", "actor_id": "bot", "action_id": "deploy", "status": "issued",
            "issued_at": "t", "expires_at": "u"})
    }

    #[test]
    fn a_permit_is_read_in_full_and_written_again() {
        let full = json!({"id": "pt_1", "org_id": "o", "actor_id": "bot", "action_id": "deploy", "target_id": "r",
            "environment": "e", "status": "revoked", "issued_at": "t", "expires_at": "u", "consumed_at": "v",
            "revoked_at": "w", "revoked_by": "x", "revoke_reason": "y", "payload_hash": "h", "decision_id": "d",
            "signature": "s"});
        let permit: PermitInfo = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(permit.status, PermitStatus::Revoked);
        assert_eq!(permit.other.get("signature"), Some(&json!("s")));
        assert_eq!(serde_json::to_value(&permit).unwrap(), full);
        assert!(serde_json::from_value::<PermitInfo>(least()).is_ok());
    }

    #[test]
    fn what_a_permit_cannot_do_without_is_asked_for() {
        for name in [
            "id",
            "org_id",
            "actor_id",
            "action_id",
            "status",
            "issued_at",
            "expires_at",
        ] {
            for value in [json!(null), json!(7)] {
                let mut permit = least();
                permit[name] = value;
                assert!(
                    serde_json::from_value::<PermitInfo>(permit).is_err(),
                    "{name}"
                );
            }
            let mut permit = least();
            permit.as_object_mut().unwrap().remove(name);
            assert!(
                serde_json::from_value::<PermitInfo>(permit).is_err(),
                "{name}"
            );
        }
        assert!(serde_json::from_value::<PermitInfo>(json!(["pt_1", "o"])).is_err());
    }

    #[test]
    fn a_status_that_is_not_known_is_kept_and_not_good() {
        for word in ["ISSUED", "", "suspended", "issued\n"] {
            let status = PermitStatus::from(word.to_owned());
            assert_eq!(status, PermitStatus::Unknown(word.to_owned()));
            assert!(!status.is_open());
            assert!(!status.to_string().contains('\n'));
        }
        for status in PermitStatus::KNOWN {
            assert_eq!(PermitStatus::from(status.as_str().to_owned()), status);
        }
    }

    #[test]
    fn a_decision_id_may_be_a_token_and_is_not_shown() {
        let mut permit = least();
        permit["decision_id"] = json!("permit_0123456789");
        let permit: PermitInfo = serde_json::from_value(permit).unwrap();
        assert!(!format!("{permit:?}").contains("permit_0123"), "{permit:?}");
    }
}
