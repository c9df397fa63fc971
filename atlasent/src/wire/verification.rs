//! The answer to a verification.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authority::issuer::IssuerMark;
use crate::error::PermitOutcome;
use crate::json::object::ObjectAndOthers;
use crate::json::unique;
use crate::text::redact::Names;
use crate::wire::SentRequestId;
use crate::wire::other::take_string;
use crate::wire::{ApprovalRecord, OtherFields, PermitToken, RateLimit};

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
    pub outcome: Option<Cow<'static, str>>,
    /// The code of the problem, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_error_code: Option<String>,
    /// The authority's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The hash that identifies the permit in audit trails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit_hash: Option<String>,
    /// The time of the verification (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Whether this verification consumed the permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed: Option<bool>,
    /// The approval of the permit, as JSON. If there are several, it is the first one:
    /// [`approvals`](Self::approvals) lists all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Value>,
    /// All approvals of the permit, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) approvals: Vec<ApprovalRecord>,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The decision behind the permit, if the answer repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Cow<'static, str>>,
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
            outcome: Some("allow".into()),
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
            outcome: Some(outcome.map_or("deny", PermitOutcome::as_str).into()),
            verify_error_code: outcome.map(|outcome| outcome.error_code().to_owned()),
            reason: Some(reason.into().into()),
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
        let is = |word: &Option<Cow<'_, str>>, good: &[&str]| {
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
        [self.outcome.as_deref(), self.verify_error_code.as_deref()]
            .into_iter()
            .flatten()
            .find_map(PermitOutcome::from_wire)
    }

    /// Sets the approvals that the permit was granted on.
    ///
    /// ```
    /// use atlasent::wire::{ApprovalRecord, Verification};
    ///
    /// let by = |person| ApprovalRecord::new("esc_1", "9f86d081884c7d65", person, "local", "key_1");
    /// let verification = Verification::valid().with_approvals(vec![by("alice"), by("bob")]);
    /// assert_eq!(verification.approvals()[1].reviewer_id, "bob");
    /// ```
    #[must_use]
    pub fn with_approvals(mut self, approvals: Vec<ApprovalRecord>) -> Self {
        // Five texts always serialize.
        let first = approvals.first().map(serde_json::to_value);
        self.approval = first.and_then(Result::ok);
        self.approvals = match approvals.len() {
            0 | 1 => Vec::new(),
            _ => approvals,
        };
        self
    }

    /// Returns the approvals that the permit was granted on. An approval in another form than that
    /// of the contract is left out.
    #[must_use]
    pub fn approvals(&self) -> Vec<ApprovalRecord> {
        if !self.approvals.is_empty() {
            return self.approvals.clone();
        }
        let read = |approval| ApprovalRecord::deserialize(approval).ok();
        self.approval.iter().filter_map(read).collect()
    }

    /// Returns the answer without the token in the texts that are logged or returned.
    pub(crate) fn scrubbed(mut self, token: &PermitToken) -> Self {
        if let Some(reason) = &mut self.reason {
            token.scrub_cow(reason);
        }
        self.permit_hash = token.scrub_option(self.permit_hash);
        self.timestamp = token.scrub_option(self.timestamp);
        self.request_id = token.scrub_option(self.request_id);
        self.other = self.other.scrubbed(token);
        if let Some(approval) = &mut self.approval {
            token.scrub_json(approval);
        }
        (self.approvals.iter_mut()).for_each(|approval| approval.scrub(token));
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
            approvals,
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
            .field("approvals", approvals)
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
            outcome: wire.outcome.map(Cow::Owned),
            verify_error_code: wire.verify_error_code,
            reason: wire.reason.map(Cow::Owned),
            permit_hash: wire.permit_hash,
            timestamp: wire.timestamp,
            consumed: wire.consumed,
            approval: wire.approval,
            approvals: take_records(&mut other),
            decision: wire.decision.map(Cow::Owned),
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

/// Removes and returns the approvals. In another form they stay among the other fields, so that
/// they cannot make the answer unreadable.
fn take_records(other: &mut Map<String, Value>) -> Vec<ApprovalRecord> {
    let approvals = other
        .get("approvals")
        .map(Vec::<ApprovalRecord>::deserialize);
    let Some(Ok(approvals)) = approvals else {
        return Vec::new();
    };
    other.remove("approvals");
    approvals
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
    fn approvals_are_read_from_one_member_or_the_other_and_written_again() {
        let record = |id: &str| ApprovalRecord::new(id, "h", "alice", "issuer", "k1");
        let one = Verification::valid().with_approvals(vec![record("a")]);
        let written = serde_json::to_value(&one).unwrap();
        assert_eq!(
            written["approval"],
            json!({"approval_id": "a", "artifact_hash": "h", "reviewer_id": "alice",
                "issuer_id": "issuer", "kid": "k1"})
        );
        assert_eq!(written.get("approvals"), None);
        assert_eq!(read(written).unwrap().approvals(), [record("a")]);

        let two = Verification::valid().with_approvals(vec![record("a"), record("b")]);
        let written = serde_json::to_value(&two).unwrap();
        assert_eq!(written["approval"]["approval_id"], "a");
        let again = read(written).unwrap();
        assert_eq!(again.approvals(), [record("a"), record("b")]);
        assert!(again.other.is_empty());

        let none = two.with_approvals(Vec::new());
        assert!(none.approvals().is_empty() && none.approval.is_none());
    }

    #[test]
    fn approvals_in_another_form_cost_no_answer() {
        for (name, value) in [
            ("approval", json!({"by": "a"})),
            ("approval", json!(["a", "h", "alice", "issuer", "k1"])),
            ("approval", json!(7)),
            ("approvals", json!([{"approval_id": "a"}])),
            ("approvals", json!(7)),
        ] {
            let mut answer = json!({"valid": true});
            answer[name] = value.clone();
            let answer = read(answer).unwrap();
            assert!(answer.is_good() && answer.approvals().is_empty(), "{value}");
            let kept = serde_json::to_value(answer).unwrap();
            assert_eq!(kept[name], value);
        }
    }

    #[test]
    fn no_approval_keeps_the_token() {
        let token = PermitToken::new("permit_0123456789").unwrap();
        let by =
            |id| ApprovalRecord::new(id, "permit_0123456789", "alice", "i", "permit_0123456789");
        for count in [1, 2] {
            let approvals = vec![by("permit_0123456789"); count];
            let scrubbed = Verification::valid()
                .with_approvals(approvals)
                .scrubbed(&token);
            let text = serde_json::to_string(&scrubbed).unwrap();
            assert!(
                !text.contains("permit_01") && text.contains("alice"),
                "{text}"
            );
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
