//! What a hold asks of people: who may approve it, how many of them, and until when. Pending
//! decisions and votes are in `ledger`.

mod annotations;
mod approvers;
mod quorum;
mod redact;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use annotations::APPROVAL_ANNOTATIONS;
pub use approvers::{ApproverName, Approvers};
pub use quorum::{Quorum, QuorumTier};
pub use redact::RedactedContext;
pub(crate) use redact::{REDACTED, redacts};

/// How long a hold waits for approvals if its policy has no `@approval_ttl`: 24 hours.
const DEFAULT_TTL: Duration = Duration::from_secs(86_400);

/// The conditions on which people can release what one policy holds: the approval annotations of a
/// `forbid` with `@decision("hold")` or `@decision("escalate")`.
///
/// Its JSON form is stored with a pending decision. A form with an unknown member does not parse,
/// since ignoring a condition could release a hold too early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ApprovalRule {
    /// The id of the policy.
    #[serde(with = "shared_text")]
    pub policy: Arc<str>,
    /// Who may vote (`@approvers`). The default is any approver.
    pub approvers: Approvers,
    /// How many approvals release the hold (`@quorum`). The default is 1.
    pub quorum: Quorum,
    /// How long the hold waits for approvals (`@approval_ttl`), in whole seconds. The default is 24
    /// hours.
    #[serde(with = "whole_seconds")]
    pub ttl: Duration,
    /// Who may vote after each escalation, in order (`@escalate_to`). At most 8 steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<Approvers>,
    /// The dotted paths of the context's values that approvers do not see (`@redact`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// The longest time for which an approver may approve the same action and resource for the same
    /// agent (`@approval_grants`), in whole seconds. Without it, an approval is for one call.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_seconds"
    )]
    pub grants: Option<Duration>,
}

impl ApprovalRule {
    /// Creates the rule of a policy without approval annotations: one approval, by any approver,
    /// within 24 hours.
    pub fn new(policy: impl Into<Arc<str>>) -> Self {
        Self {
            policy: policy.into(),
            approvers: Approvers::Any,
            quorum: Quorum::default(),
            ttl: DEFAULT_TTL,
            escalate_to: Vec::new(),
            redact: Vec::new(),
            grants: None,
        }
    }
}

/// For people: `2 approvals by role:release-manager or user:alice`.
impl fmt::Display for ApprovalRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.quorum, self.approvers)
    }
}

mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

mod whole_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_is_stored_whole_and_read_back() {
        let rule = ApprovalRule {
            approvers: Approvers::parse("role:release-manager, user:alice").unwrap(),
            quorum: Quorum::parse("two_thirds of 5").unwrap(),
            ttl: Duration::from_secs(14_400),
            escalate_to: vec![Approvers::parse("role:director").unwrap()],
            redact: vec!["customer.ssn".to_owned()],
            grants: Some(Duration::from_secs(3_600)),
            ..ApprovalRule::new("friday")
        };
        let stored = json!({
            "policy": "friday",
            "approvers": { "one_of": [{ "role": "release-manager" }, { "user": "alice" }] },
            "quorum": { "tier": "two_thirds", "of": 5 },
            "ttl": 14_400,
            "escalate_to": [{ "one_of": [{ "role": "director" }] }],
            "redact": ["customer.ssn"],
            "grants": 3_600,
        });
        assert_eq!(serde_json::to_value(&rule).unwrap(), stored);
        assert_eq!(
            serde_json::from_value::<ApprovalRule>(stored).unwrap(),
            rule
        );
    }

    #[test]
    fn a_rule_is_shown_as_a_person_would_say_it() {
        let rule = ApprovalRule::new("p");
        assert_eq!(rule.to_string(), "1 approval by any approver");
        let rule = ApprovalRule {
            approvers: Approvers::parse("role:cto").unwrap(),
            quorum: Quorum::Number(2),
            ..rule
        };
        assert_eq!(rule.to_string(), "2 approvals by role:cto");
    }

    #[test]
    fn a_rule_without_annotations_takes_little_room() {
        let rule = ApprovalRule::new("friday");
        let stored = r#"{"policy":"friday","approvers":"any","quorum":1,"ttl":86400}"#;
        assert_eq!(serde_json::to_string(&rule).unwrap(), stored);
        assert_eq!(serde_json::from_str::<ApprovalRule>(stored).unwrap(), rule);
    }

    #[test]
    fn a_stored_condition_that_is_unknown_is_not_ignored() {
        for stored in [
            r#"{"policy":"p","approvers":"any","quorum":1,"ttl":1,"also":true}"#,
            r#"{"policy":"p","approvers":"all","quorum":1,"ttl":1}"#,
            r#"{"policy":"p","approvers":"any","quorum":{"tier":"most","of":3},"ttl":1}"#,
            r#"{"policy":"p","approvers":"any","quorum":-1,"ttl":1}"#,
            r#"{"policy":"p","quorum":1,"ttl":1}"#,
        ] {
            assert!(
                serde_json::from_str::<ApprovalRule>(stored).is_err(),
                "{stored}"
            );
        }
    }
}
