//! What an authority tells of a permit under its public id: data, which opens nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::object::ObjectAndOthers;
use crate::wire::{OtherFields, PermitToken, RateLimit};

/// A permit as its authority has it on record: `GET /v1/permits/{id}`.
///
/// It is no [`Permit`](crate::Permit) and cannot be turned into one, whatever its status says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ObjectAndOthers<WirePermit>")]
#[non_exhaustive]
pub struct PermitInfo {
    /// The public id (`pt_…`), which is not the token.
    pub id: String,
    /// The organization.
    pub org_id: String,
    /// The agent that it was granted to.
    pub actor_id: String,
    /// The action that it was granted for.
    pub action_id: String,
    /// The resource that it was granted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// The environment that it was granted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Where it stands.
    pub status: PermitStatus,
    /// When it was granted (ISO 8601).
    pub issued_at: String,
    /// When its time is over (ISO 8601).
    pub expires_at: String,
    /// When it was used up (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed_at: Option<String>,
    /// When it was taken back (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// The user or API key that took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// Why it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_reason: Option<String>,
    /// The hash of what it was granted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
    /// The id of the evaluation that granted it. Older services use the permit's token for that, so
    /// it prints redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<PermitToken>,
    /// Everything else in the answer.
    #[serde(flatten)]
    pub other: OtherFields,
    /// How much of the rate limit is left. It stands in the answer's headers, not in its body.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl PermitInfo {
    /// What an authority tells of a permit. The fields that it may lack are unset.
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

/// Where a permit stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PermitStatus {
    /// It was granted, and waits to be used.
    Issued,
    /// It was verified, and is not used up yet. Only some services tell this from `Consumed`.
    Verified,
    /// It was used up.
    Consumed,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// A word that this version does not know. A permit in such a status is never good.
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

    /// The word on the wire.
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

    /// Whether the permit can still be used: `Issued` or `Verified`.
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

/// Writes the word, an unknown one escaped.
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
