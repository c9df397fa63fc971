//! The first answer of an authority: what it decided. It reads every form of answer to `POST /v1-evaluate`
//! that the contract knows, those of older servers included.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::Object;
use crate::{ConstraintTrace, Decision, PermitToken, RateLimit};

/// The answer to an [`EvaluateRequest`](crate::EvaluateRequest).
///
/// It is data: an allow with a token opens nothing before the token is verified, which `protect` does.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Object<WireEvaluation>", into = "WireEvaluation")]
#[non_exhaustive]
pub struct Evaluation {
    /// What was decided.
    pub decision: Decision,
    /// The token to verify. Only an allow has one.
    pub permit_token: Option<PermitToken>,
    /// Why.
    pub reason: Option<String>,
    /// Why, as a code for programs. Only a refusal has one.
    pub code: Option<String>,
    /// The authority's id of a refused evaluation. On an allow the token takes its place.
    pub decision_id: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// When the permit's time is over (ISO 8601).
    pub expires_at: Option<String>,
    /// The hash of the audit event that recorded the decision.
    pub audit_hash: Option<String>,
    /// When the decision was made (ISO 8601).
    pub timestamp: Option<String>,
    /// The risk that the authority saw.
    pub risk_score: Option<f64>,
    /// How the decision came about, where that was asked for and is told.
    pub constraint_trace: Option<ConstraintTrace>,
    /// How much of the rate limit is left. It stands in the answer's headers, not in its body.
    pub rate_limit: Option<RateLimit>,
    /// How long to wait before asking again makes sense, where the authority knows. Only a refusal has it. It stands
    /// in the answer's `Retry-After` header, not in its body.
    pub retry_after: Option<Duration>,
}

impl Evaluation {
    /// A decision and nothing else. An allow without a token opens nothing.
    #[must_use]
    pub fn new(decision: Decision) -> Self {
        Self {
            decision,
            permit_token: None,
            reason: None,
            code: None,
            decision_id: None,
            request_id: None,
            expires_at: None,
            audit_hash: None,
            timestamp: None,
            risk_score: None,
            constraint_trace: None,
            rate_limit: None,
            retry_after: None,
        }
    }

    /// An allow with the token of its permit.
    #[must_use]
    pub fn allow(permit_token: PermitToken) -> Self {
        Self {
            permit_token: Some(permit_token),
            ..Self::new(Decision::Allow)
        }
    }

    /// A refusal with its reason.
    ///
    /// ```
    /// use std::time::Duration;
    /// use atlasent::{Decision, Evaluation};
    ///
    /// let mut evaluation = Evaluation::refuse(Decision::Hold, "waits for the change window");
    /// evaluation.retry_after = Some(Duration::from_secs(300));
    /// assert_eq!(evaluation.decision, Decision::Hold);
    /// ```
    #[must_use]
    pub fn refuse(decision: Decision, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::new(decision)
        }
    }

    /// The id to ask a person about. Never the permit token.
    #[must_use]
    pub fn evaluation_id(&self) -> Option<&str> {
        self.decision_id.as_deref().or(self.request_id.as_deref())
    }

    /// The same answer without its token in any of the texts that are logged or handed on.
    pub(crate) fn scrubbed(mut self) -> Self {
        if let Some(token) = &self.permit_token {
            self.reason = token.scrub_option(self.reason);
            self.code = token.scrub_option(self.code);
            self.decision_id = token.scrub_option(self.decision_id);
            self.request_id = token.scrub_option(self.request_id);
            self.expires_at = token.scrub_option(self.expires_at);
            self.audit_hash = token.scrub_option(self.audit_hash);
            self.timestamp = token.scrub_option(self.timestamp);
            let texts = self.constraint_trace.iter_mut();
            texts
                .flat_map(ConstraintTrace::texts_mut)
                .for_each(|text| token.scrub_in_place(text));
        }
        self
    }
}

/// Prints the token redacted, also where another text repeats it.
impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            decision,
            permit_token,
            reason,
            code,
            decision_id,
            request_id,
            expires_at,
            audit_hash,
            timestamp,
            risk_score,
            constraint_trace,
            rate_limit,
            retry_after,
        } = self.clone().scrubbed();
        f.debug_struct("Evaluation")
            .field("decision", &decision)
            .field("permit_token", &permit_token)
            .field("reason", &reason)
            .field("code", &code)
            .field("decision_id", &decision_id)
            .field("request_id", &request_id)
            .field("expires_at", &expires_at)
            .field("audit_hash", &audit_hash)
            .field("timestamp", &timestamp)
            .field("risk_score", &risk_score)
            .field("constraint_trace", &constraint_trace)
            .field("rate_limit", &rate_limit)
            .field("retry_after", &retry_after)
            .finish()
    }
}

/// The answer as it stands on the wire, where several generations of servers have left their fields.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireEvaluation {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permit_token: Option<PermitToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<PermitToken>,
    // Read leniently: a refusal stays what it is, however its reason is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_hash: Option<String>,
    #[serde(skip_serializing)]
    audit_entry_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constraint_trace: Option<ConstraintTrace>,
}

impl TryFrom<Object<WireEvaluation>> for Evaluation {
    type Error = &'static str;

    fn try_from(Object(wire): Object<WireEvaluation>) -> Result<Self, Self::Error> {
        let decision = Decision::of_answer(wire.decision, wire.permitted)?;
        let mut evaluation = Self {
            request_id: wire.request_id,
            expires_at: wire.expires_at,
            audit_hash: wire.audit_hash.or(wire.audit_entry_hash),
            timestamp: wire.timestamp,
            risk_score: wire.risk_score,
            constraint_trace: wire.constraint_trace,
            ..Self::new(decision)
        };
        if decision.is_allow() {
            let token = wire.permit_token.or(wire.decision_id);
            if token.as_ref().is_none_or(PermitToken::is_empty) {
                return Err("an allow without a permit token");
            }
            evaluation.permit_token = token;
            evaluation.reason = wire.reason;
        } else {
            let denial = |name| Some(wire.denial.as_ref()?.get(name)?.as_str()?.to_owned());
            let said = |texts: [Option<String>; 3]| {
                texts.into_iter().flatten().find(|text| !text.is_empty())
            };
            evaluation.reason = said([wire.deny_reason, denial("reason"), wire.reason]);
            evaluation.code = said([wire.deny_code, denial("code"), None]);
            evaluation.decision_id = wire.decision_id.map(String::from);
        }
        Ok(evaluation)
    }
}

impl From<Evaluation> for WireEvaluation {
    fn from(evaluation: Evaluation) -> Self {
        let permitted = evaluation.decision.is_allow();
        let mut wire = Self {
            decision: Some(evaluation.decision),
            permitted: Some(permitted),
            reason: evaluation.reason,
            request_id: evaluation.request_id,
            expires_at: evaluation.expires_at,
            audit_hash: evaluation.audit_hash,
            timestamp: evaluation.timestamp,
            risk_score: evaluation.risk_score,
            constraint_trace: evaluation.constraint_trace,
            ..Self::default()
        };
        if permitted {
            wire.decision_id.clone_from(&evaluation.permit_token);
            wire.permit_token = evaluation.permit_token;
        } else {
            wire.decision_id = evaluation
                .decision_id
                .and_then(|id| PermitToken::new(id).ok());
            let denial = [("reason", &wire.reason), ("code", &evaluation.code)];
            wire.denial = Some(
                denial
                    .into_iter()
                    .filter_map(|(name, text)| Some((name, text.clone()?)))
                    .collect(),
            );
            wire.deny_reason.clone_from(&wire.reason);
            wire.deny_code = evaluation.code;
        }
        wire
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<Evaluation, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn each_generation_of_allows_is_read() {
        for json in [
            json!({"decision": "allow", "permit_token": "p"}),
            json!({"decision": "allow", "decision_id": "p"}),
            json!({"permitted": true, "decision_id": "p", "extra": [1]}),
            json!({"decision": null, "permitted": true, "permit_token": "p", "decision_id": "q"}),
        ] {
            let evaluation = read(json).unwrap();
            assert_eq!(evaluation.decision, Decision::Allow);
            assert_eq!(evaluation.permit_token.unwrap().expose(), "p");
        }
    }

    #[test]
    fn an_unreadable_verdict_is_an_error() {
        for json in [
            json!({}),
            json!({"decision": "ALLOW", "permit_token": "p"}),
            json!({"decision": "maybe", "permitted": true, "permit_token": "p"}),
            json!({"decision": 1, "permit_token": "p"}),
            json!({"decision": "allow"}),
            json!({"decision": "allow", "permit_token": ""}),
            json!({"decision": "allow", "permit_token": 7}),
            json!({"decision": "allow", "permit_token": null, "decision_id": ""}),
            json!({"decision": "allow", "permitted": false, "permit_token": "p"}),
            json!({"decision": "deny", "permitted": true, "permit_token": "p"}),
            json!({"permitted": "true", "permit_token": "p"}),
            json!([]),
            json!(["allow", true, "p"]),
            json!("allow"),
        ] {
            assert!(read(json.clone()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_refusal_reads_its_reason_from_the_first_place_that_has_one() {
        let full = json!({"decision": "hold", "deny_reason": "a", "denial": {"reason": "b", "code": "B"},
            "reason": "c", "deny_code": "A", "permit_token": "p", "decision_id": "d"});
        let evaluation = read(full).unwrap();
        assert_eq!(evaluation.reason.as_deref(), Some("a"));
        assert_eq!(evaluation.code.as_deref(), Some("A"));
        assert_eq!(evaluation.permit_token, None);
        assert_eq!(evaluation.evaluation_id(), Some("d"));
        let nested =
            json!({"decision": "deny", "denial": {"reason": "b", "code": "B"}, "reason": "c"});
        let evaluation = read(nested).unwrap();
        assert_eq!(evaluation.reason.as_deref(), Some("b"));
        assert_eq!(evaluation.code.as_deref(), Some("B"));
        for reason in [
            json!({"deny_reason": "", "denial": {"reason": "c"}}),
            json!({"denial": {"reason": null, "code": 7}, "reason": "c"}),
            json!({"denial": "no object", "reason": "c"}),
        ] {
            let mut refusal = json!({"decision": "escalate"});
            refusal
                .as_object_mut()
                .unwrap()
                .extend(reason.as_object().unwrap().clone());
            let evaluation = read(refusal).unwrap();
            assert_eq!(evaluation.decision, Decision::Escalate);
            assert_eq!(evaluation.reason.as_deref(), Some("c"));
            assert_eq!(evaluation.code, None);
        }
    }

    #[test]
    fn no_null_is_ever_written() {
        let allow = Evaluation::allow(PermitToken::new("p").unwrap());
        assert_eq!(
            serde_json::to_value(allow).unwrap(),
            json!({"decision": "allow", "permitted": true, "permit_token": "p", "decision_id": "p"})
        );
        let deny = Evaluation::refuse(Decision::Deny, "no");
        assert_eq!(
            serde_json::to_value(deny).unwrap(),
            json!({"decision": "deny", "permitted": false, "denial": {"reason": "no"},
                "deny_reason": "no", "reason": "no"})
        );
    }

    #[test]
    fn a_repeated_field_is_an_error_and_not_a_choice() {
        let twice = r#"{"decision":"deny","decision":"allow","permit_token":"p"}"#;
        assert!(serde_json::from_str::<Evaluation>(twice).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            decision in prop::sample::select(vec![Decision::Allow, Decision::Deny, Decision::Hold, Decision::Escalate]),
            token in ".{1,20}", reason in ".+", id in prop::option::of(".*"), hash in prop::option::of(".*"),
        ) {
            let mut evaluation = if decision.is_allow() {
                Evaluation::allow(PermitToken::new(token).unwrap())
            } else {
                Evaluation::refuse(decision, "")
            };
            evaluation.reason = Some(reason);
            evaluation.request_id = id;
            evaluation.audit_hash = hash;
            let json = serde_json::to_string(&evaluation).unwrap();
            prop_assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), evaluation);
        }
    }
}
