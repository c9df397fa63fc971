//! The answer to a verification.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authority::issuer::IssuerMark;
use crate::error::PermitOutcome;
use crate::json::object::ObjectAndOthers;
use crate::json::unique;
use crate::text::redact::Names;
use crate::wire::SentRequestId;
use crate::wire::other::take_string;
use crate::wire::{OtherFields, PermitToken, RateLimit};

/// The answer to a [`VerifyRequest`](crate::wire::VerifyRequest).
///
/// For a permit, `valid` is not enough: `protect` also refuses an answer that contradicts itself or
/// repeats another agent or action.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ObjectAndOthers<WireVerification>")]
#[non_exhaustive]
pub struct Verification {
    /// Whether the permit is good.
    pub valid: bool,
    /// `allow` or `verified` for a good permit; otherwise one of the `permit_*` words, or `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The code of the problem, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_error_code: Option<String>,
    /// The authority's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash that identifies the permit in audit trails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit_hash: Option<String>,
    /// The time of the verification (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Whether this verification consumed the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed: Option<bool>,
    /// The approval of the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Value>,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The decision behind the permit, if the answer repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The action of the permit, if the answer repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_type: Option<String>,
    /// The agent of the permit, if the answer repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// Whether an earlier attempt of the same call got no answer and may have consumed the permit.
    #[serde(skip_serializing)]
    pub retried: bool,
    /// The state of the rate limit, from the headers of the answer.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
    /// The mark of the authority's issuer.
    #[serde(skip)]
    pub(crate) mark: IssuerMark,
    /// The fields of the answer that this version does not know.
    #[serde(flatten)]
    pub other: OtherFields,
    /// The id under which the client sent the request (`X-Request-ID`).
    #[serde(skip_serializing)]
    pub(crate) sent_request_id: SentRequestId,
}

impl Verification {
    /// Creates the answer for a good permit, which is now consumed.
    #[must_use]
    pub fn valid() -> Self {
        Self {
            valid: true,
            outcome: Some("allow".to_owned()),
            consumed: Some(true),
            ..Self::default()
        }
    }

    /// Creates the answer for a permit that is not good.
    ///
    /// ```
    /// use atlasent::error::PermitOutcome;
    /// use atlasent::wire::Verification;
    ///
    /// let verification = Verification::refuse(Some(PermitOutcome::Expired), "the permit expired at noon");
    /// assert_eq!(verification.permit_outcome(), Some(PermitOutcome::Expired));
    /// ```
    #[must_use]
    pub fn refuse(outcome: Option<PermitOutcome>, reason: impl Into<String>) -> Self {
        Self {
            outcome: Some(outcome.map_or("deny", PermitOutcome::as_str).to_owned()),
            verify_error_code: outcome.map(|outcome| outcome.error_code().to_owned()),
            reason: Some(reason.into()),
            consumed: Some(false),
            ..Self::default()
        }
    }

    /// Returns whether the permit is good and now consumed, and no field of the answer contradicts
    /// that.
    ///
    /// Absent fields contradict nothing. `consumed: false` does: the permit could be used again.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is = |word: &Option<String>, good: &[&str]| {
            word.as_deref().is_none_or(|word| good.contains(&word))
        };
        self.valid
            && self.consumed != Some(false)
            && self.verify_error_code.is_none()
            && is(&self.outcome, &["allow", "verified"])
            && is(&self.decision, &["allow"])
    }

    /// Returns the reason why the permit failed, if the outcome or the code is one of the four
    /// known ones.
    #[must_use]
    pub fn permit_outcome(&self) -> Option<PermitOutcome> {
        [&self.outcome, &self.verify_error_code]
            .into_iter()
            .flatten()
            .find_map(|word| PermitOutcome::from_wire(word))
    }

    /// Returns the answer without the token in the texts that are logged or returned.
    pub(crate) fn scrubbed(mut self, token: &PermitToken) -> Self {
        self.reason = token.scrub_option(self.reason);
        self.permit_hash = token.scrub_option(self.permit_hash);
        self.timestamp = token.scrub_option(self.timestamp);
        self.request_id = token.scrub_option(self.request_id);
        self.other = self.other.scrubbed(token);
        if let Some(approval) = &mut self.approval {
            token.scrub_json(approval);
        }
        self
    }
}

/// Prints the names of the approval's members and omits their values, which may be secrets.
impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            valid,
            outcome,
            verify_error_code,
            reason,
            permit_hash,
            timestamp,
            consumed,
            approval,
            decision,
            action_type,
            actor_id,
            request_id,
            retried,
            rate_limit,
            other,
            mark,
            sent_request_id: _,
        } = self;
        f.debug_struct("Verification")
            .field("valid", valid)
            .field("outcome", outcome)
            .field("verify_error_code", verify_error_code)
            .field("reason", reason)
            .field("permit_hash", permit_hash)
            .field("timestamp", timestamp)
            .field("consumed", consumed)
            .field("approval", &approval.as_ref().map(Names))
            .field("decision", decision)
            .field("action_type", action_type)
            .field("actor_id", actor_id)
            .field("request_id", request_id)
            .field("retried", retried)
            .field("rate_limit", rate_limit)
            .field("other", other)
            .field("mark", mark)
            .finish()
    }
}

/// The answer on the wire, with the current and the older name of each field.
#[derive(Deserialize)]
struct WireVerification {
    valid: Option<bool>,
    verified: Option<bool>,
    outcome: Option<String>,
    verify_error_code: Option<String>,
    reason: Option<String>,
    permit_hash: Option<String>,
    timestamp: Option<String>,
    consumed: Option<bool>,
    #[serde(default, deserialize_with = "unique::optional_of_answer")]
    approval: Option<Value>,
    decision: Option<String>,
    action_type: Option<String>,
    action: Option<String>,
    actor_id: Option<String>,
    agent: Option<String>,
}

impl TryFrom<ObjectAndOthers<WireVerification>> for Verification {
    type Error = &'static str;

    fn try_from(answer: ObjectAndOthers<WireVerification>) -> Result<Self, Self::Error> {
        let ObjectAndOthers {
            known: wire,
            mut other,
        } = answer;
        let valid = agreeing(wire.valid, wire.verified)
            .ok_or("`valid` and `verified` contradict each other")?
            .ok_or("there is neither a boolean `valid` nor a boolean `verified`")?;
        Ok(Self {
            valid,
            outcome: wire.outcome,
            verify_error_code: wire.verify_error_code,
            reason: wire.reason,
            permit_hash: wire.permit_hash,
            timestamp: wire.timestamp,
            consumed: wire.consumed,
            approval: wire.approval,
            decision: wire.decision,
            action_type: agreeing(wire.action_type, wire.action)
                .ok_or("`action_type` and `action` contradict each other")?,
            actor_id: agreeing(wire.actor_id, wire.agent)
                .ok_or("`actor_id` and `agent` contradict each other")?,
            retried: false,
            rate_limit: None,
            mark: IssuerMark::default(),
            request_id: take_string(&mut other, "request_id"),
            other: OtherFields::new(other),
            sent_request_id: SentRequestId::default(),
        })
    }
}

/// Returns the value of a field with two names, or `None` if the two contradict each other.
fn agreeing<T: PartialEq>(first: Option<T>, second: Option<T>) -> Option<Option<T>> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => None,
        (first, second) => Some(first.or(second)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<Verification, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn both_names_of_the_verdict_are_read() {
        assert!(read(json!({"valid": true})).unwrap().valid);
        assert!(
            read(json!({"verified": true, "valid": null}))
                .unwrap()
                .valid
        );
        assert!(
            !read(json!({"verified": false, "outcome": "x"}))
                .unwrap()
                .valid
        );
    }

    #[test]
    fn an_unreadable_verdict_is_an_error() {
        for json in [
            json!({}),
            json!({"valid": "true"}),
            json!({"valid": 1, "verified": true}),
            json!({"valid": true, "verified": false}),
            json!({"valid": true, "action": "a", "action_type": "b"}),
            json!({"valid": true, "agent": "a", "actor_id": "b"}),
            json!({"valid": true, "outcome": 5}),
            json!([true]),
            json!([
                true, null, "allow", null, null, null, null, null, null, null, null, null, null,
                null
            ]),
        ] {
            assert!(read(json.clone()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_known_cause_is_read_from_outcome_or_code() {
        for outcome in [
            PermitOutcome::Consumed,
            PermitOutcome::Expired,
            PermitOutcome::Revoked,
            PermitOutcome::NotFound,
        ] {
            let by_word = json!({"valid": false, "outcome": outcome.as_str()});
            let by_code = json!({"valid": false, "outcome": "deny", "verify_error_code": outcome.error_code()});
            assert_eq!(read(by_word).unwrap().permit_outcome(), Some(outcome));
            assert_eq!(read(by_code).unwrap().permit_outcome(), Some(outcome));
            let written = serde_json::to_value(Verification::refuse(Some(outcome), "r")).unwrap();
            assert_eq!(read(written).unwrap().permit_outcome(), Some(outcome));
        }
        let unknown =
            json!({"valid": false, "outcome": "permit_eaten", "verify_error_code": "EATEN"});
        assert_eq!(read(unknown).unwrap().permit_outcome(), None);
    }
}
