//! An evaluation on the wire: every form of answer to `POST /v1-evaluate` in the contract,
//! including those of older servers.
//!
//! The same refusal from three generations of servers, and how it is read:
//!
//! ```text
//! {"permitted":false,"decision_id":"d1","reason":"frozen"}
//! {"decision":"hold","deny_reason":"frozen","deny_code":"FREEZE","decision_id":"d1"}
//! {"decision":"hold","permitted":false,"denial":{"reason":"frozen","code":"FREEZE"},"decision_id":"d1"}
//!
//! decision     `decision`, else deny or allow by `permitted`
//! reason       first text of: deny_reason, denial.reason, reason, reasons[0]
//! code         first text of: deny_code, denial.code
//! decision_id  the id of the evaluation
//! ```
//!
//! And the same allow. Older servers call the token `decision_id`:
//!
//! ```text
//! {"permitted":true,"decision_id":"tok"}
//! {"decision":"allow","permitted":true,"permit_token":"tok","decision_id":"tok","permit_id":"pt_1"}
//!
//! permit_token  first that is not empty of: permit_token, decision_id
//! ```
//!
//! A `decision` and a `permitted` that contradict each other make the answer unreadable. The fields
//! of later servers (`permit_id`, `reasons` and others) never do: with an unexpected type they stay
//! among the unknown fields.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Decision;
use crate::json::object::ObjectAndOthers;
use crate::json::unique;
use crate::wire::other::{take_string, take_strings};
use crate::wire::{BudgetState, ConstraintTrace, Evaluation, OtherFields, PermitToken};

/// The answer on the wire, with the fields of several generations of servers.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireEvaluation {
    decision: Option<Decision>,
    permitted: Option<bool>,
    permit_token: Option<PermitToken>,
    decision_id: Option<PermitToken>,
    // Of any type: a refusal is a refusal, whatever the form of its reason.
    #[serde(deserialize_with = "unique::optional_of_answer")]
    denial: Option<Value>,
    deny_reason: Option<String>,
    deny_code: Option<String>,
    reason: Option<String>,
    request_id: Option<String>,
    expires_at: Option<String>,
    audit_hash: Option<String>,
    audit_entry_hash: Option<String>,
    timestamp: Option<String>,
    risk_score: Option<f64>,
    constraint_trace: Option<ConstraintTrace>,
}

impl TryFrom<ObjectAndOthers<WireEvaluation>> for Evaluation {
    type Error = &'static str;

    fn try_from(answer: ObjectAndOthers<WireEvaluation>) -> Result<Self, Self::Error> {
        read(answer, AllowKind::WithPermit)
    }
}

/// The answer to a request with [`EvaluateRequest::shadow`](crate::wire::EvaluateRequest::shadow):
/// an allow needs no token.
#[cfg(feature = "client")]
#[derive(Deserialize)]
#[serde(try_from = "ObjectAndOthers<WireEvaluation>")]
pub(crate) struct ShadowEvaluation(pub(crate) Evaluation);

#[cfg(feature = "client")]
impl TryFrom<ObjectAndOthers<WireEvaluation>> for ShadowEvaluation {
    type Error = &'static str;

    fn try_from(answer: ObjectAndOthers<WireEvaluation>) -> Result<Self, Self::Error> {
        read(answer, AllowKind::Shadow).map(Self)
    }
}

/// The name of the budgets on the wire.
const BUDGETS: &str = "budgets";

/// Whether an allow has to bring a permit token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AllowKind {
    WithPermit,
    /// The allow of a shadow request, which mints no permit.
    #[cfg(feature = "client")]
    Shadow,
}

fn read(
    answer: ObjectAndOthers<WireEvaluation>,
    allow: AllowKind,
) -> Result<Evaluation, &'static str> {
    let ObjectAndOthers {
        known: wire,
        mut other,
    } = answer;
    let decision = Decision::from_answer(wire.decision, wire.permitted)?;
    let mut evaluation = Evaluation {
        reasons: take_strings(&mut other, "reasons"),
        explanation: take_strings(&mut other, "explanation"),
        permit_id: take_string(&mut other, "permit_id"),
        escalation_id: take_string(&mut other, "escalation_id"),
        approval_url: take_string(&mut other, "approval_url"),
        risk_class: take_string(&mut other, "risk_class"),
        policy_version: take_string(&mut other, "policy_version"),
        budgets: take_budgets(&mut other),
        request_id: wire.request_id,
        expires_at: wire.expires_at,
        audit_hash: wire.audit_hash.or(wire.audit_entry_hash),
        timestamp: wire.timestamp,
        risk_score: wire.risk_score,
        constraint_trace: wire.constraint_trace,
        other: OtherFields::new(other),
        ..Evaluation::new(decision)
    };
    if decision.is_allow() {
        let token = PermitToken::from_allow(wire.permit_token, wire.decision_id);
        if token.is_none() && allow == AllowKind::WithPermit {
            return Err("an allow without a permit token");
        }
        evaluation.permit_token = token;
        evaluation.reason = wire.reason;
    } else {
        let denial = |name| Some(wire.denial.as_ref()?.get(name)?.as_str()?.to_owned());
        let first_text = |texts: &[Option<String>]| {
            let mut texts = texts.iter().flatten();
            texts.find(|text| !text.is_empty()).cloned()
        };
        let listed = evaluation.reasons.first().cloned();
        evaluation.reason = first_text(&[wire.deny_reason, denial("reason"), wire.reason, listed]);
        evaluation.code = first_text(&[wire.deny_code, denial("code")]);
        evaluation.decision_id = wire.decision_id.map(String::from);
    }
    Ok(evaluation)
}

/// Removes and returns the budgets. A field of another form stays, so that it cannot make the
/// answer unreadable.
fn take_budgets(fields: &mut Map<String, Value>) -> Vec<BudgetState> {
    let budgets = fields.get(BUDGETS).map(Vec::<BudgetState>::deserialize);
    match budgets {
        Some(Ok(budgets)) => {
            fields.remove(BUDGETS);
            budgets
        }
        _ => Vec::new(),
    }
}

/// Writes the answer as the current servers send it, with the older name of each field. An unset
/// field is left out.
impl Serialize for Evaluation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_allow = self.decision.is_allow();
        let mut members = Members(serializer.serialize_map(None)?);
        members.add("decision", Some(self.decision))?;
        members.add("permitted", Some(is_allow))?;
        if is_allow {
            members.add("permit_token", self.permit_token.as_ref())?;
            members.add("decision_id", self.permit_token.as_ref())?;
        } else {
            // It would not be read again if it were longer than a token may be.
            let id = self.decision_id.as_deref();
            members.add("decision_id", id.filter(|id| PermitToken::new(*id).is_ok()))?;
            members.add("denial", Some(Denial::new(self)))?;
            members.add("deny_reason", self.reason.as_deref())?;
            members.add("deny_code", self.code.as_deref())?;
        }
        members.add("reason", self.reason.as_deref())?;
        members.add("request_id", self.request_id.as_deref())?;
        members.add("expires_at", self.expires_at.as_deref())?;
        members.add("audit_hash", self.audit_hash.as_deref())?;
        members.add("timestamp", self.timestamp.as_deref())?;
        members.add("risk_score", self.risk_score)?;
        members.add("constraint_trace", self.constraint_trace.as_ref())?;
        let texts = [
            ("permit_id", &self.permit_id),
            ("escalation_id", &self.escalation_id),
            ("approval_url", &self.approval_url),
            ("risk_class", &self.risk_class),
            ("policy_version", &self.policy_version),
        ];
        let lists = [
            ("reasons", &self.reasons),
            ("explanation", &self.explanation),
        ];
        for (name, value) in self.other.as_object() {
            let is_text =
                |(known, text): &(&str, &Option<String>)| *known == name && text.is_some();
            let is_list = |(known, list): &(&str, &Vec<String>)| *known == name && !list.is_empty();
            let is_known = texts.iter().any(is_text)
                || lists.iter().any(is_list)
                || (name == BUDGETS && !self.budgets.is_empty());
            members.add(name, (!is_known).then_some(value))?;
        }
        for (name, text) in texts {
            members.add(name, text.as_deref())?;
        }
        for (name, list) in lists {
            members.add(name, Some(list).filter(|list| !list.is_empty()))?;
        }
        members.add(BUDGETS, Some(&self.budgets).filter(|list| !list.is_empty()))?;
        members.0.end()
    }
}

/// The reason and the code of a refusal.
#[derive(Serialize)]
struct Denial<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

impl<'a> Denial<'a> {
    fn new(evaluation: &'a Evaluation) -> Self {
        Self {
            reason: evaluation.reason.as_deref(),
            code: evaluation.code.as_deref(),
        }
    }
}

/// The members of an answer that is being written.
struct Members<M>(M);

impl<M: SerializeMap> Members<M> {
    /// Writes a member, if it is set.
    fn add(&mut self, name: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.0.serialize_entry(name, &value))
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
            json!({"permitted": true, "decision_id": "p", "extra": [1], "reasons": {}, "permit_id": 7}),
            json!({"decision": null, "permitted": true, "permit_token": "p", "decision_id": "q"}),
            json!({"decision": "allow", "permit_token": "", "decision_id": "p"}),
            json!({"decision": "allow", "permit_token": null, "decision_id": "p"}),
            json!({"decision": "allow", "permit_token": "p", "decision_id": ""}),
        ] {
            let evaluation = read(json).unwrap();
            assert_eq!(evaluation.decision, Decision::Allow);
            assert_eq!(evaluation.permit_token.unwrap().expose(), "p");
        }
    }

    #[test]
    fn budgets_are_read_and_written_and_never_make_an_answer_unreadable() {
        let budgets = json!([{"policy": "pay", "budget": "amount 10/day per agent", "amount": "2.5", "remaining": "7.5"}]);
        let answer = json!({"decision": "allow", "permit_token": "p", "budgets": budgets});
        let evaluation = read(answer).unwrap();
        assert_eq!(evaluation.budgets[0].remaining, "7.5");
        assert_eq!(
            serde_json::to_value(&evaluation).unwrap()["budgets"],
            budgets
        );
        for other in [json!(7), json!([7]), json!([{"policy": "pay"}])] {
            let answer = json!({"decision": "deny", "budgets": other});
            let evaluation = read(answer).unwrap();
            assert!(evaluation.budgets.is_empty());
            assert_eq!(evaluation.other.get("budgets"), Some(&other));
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
            json!({"decision": "allow", "permit_token": "", "decision_id": ""}),
            json!({"decision": "allow", "permit_token": "", "decision_id": 7}),
            json!({"decision": "allow", "permit_token": 0, "decision_id": "p"}),
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
    fn what_later_servers_say_is_read_and_written_again() {
        let json = json!({"decision": "escalate", "permitted": false, "denial": {"reason": "first"},
            "deny_reason": "first", "reason": "first", "reasons": ["first", "second"], "risk_class": "high",
            "escalation_id": "e-1", "approval_url": "https://console.example/e-1", "policy_version": "v7",
            "permit_id": "pt_1", "explanation": ["a.cedar:1:1: policy `x`"], "risk_envelope": {"weighted_score": 0.9, "factors": [null]}});
        let evaluation = read(json.clone()).unwrap();
        assert_eq!(evaluation.reasons, ["first", "second"]);
        assert_eq!(evaluation.risk_class.as_deref(), Some("high"));
        assert_eq!(evaluation.escalation_id.as_deref(), Some("e-1"));
        assert_eq!(
            evaluation.approval_url.as_deref(),
            Some("https://console.example/e-1")
        );
        assert_eq!(evaluation.policy_version.as_deref(), Some("v7"));
        assert_eq!(evaluation.permit_id.as_deref(), Some("pt_1"));
        assert_eq!(evaluation.explanation, ["a.cedar:1:1: policy `x`"]);
        assert_eq!(evaluation.other.as_object().len(), 1);
        assert_eq!(serde_json::to_value(evaluation).unwrap(), json);
        let bare = read(json!({"decision": "deny", "reasons": ["only"], "new": null})).unwrap();
        assert_eq!(bare.reason.as_deref(), Some("only"));
        assert!(bare.other.is_empty());
    }

    #[test]
    fn no_field_of_a_later_server_costs_an_answer() {
        for name in [
            "reasons",
            "explanation",
            "risk_class",
            "escalation_id",
            "approval_url",
            "policy_version",
            "permit_id",
        ] {
            for value in [
                json!(null),
                json!(7),
                json!([7]),
                json!({"x": 1}),
                json!(true),
            ] {
                for mut answer in [
                    json!({"decision": "allow", "permit_token": "p"}),
                    json!({"decision": "hold"}),
                ] {
                    answer[name] = value.clone();
                    let evaluation = read(answer).unwrap();
                    let kept = Some(&value).filter(|value| !value.is_null());
                    assert_eq!(evaluation.other.get(name), kept);
                }
            }
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_shadow_allow_needs_no_token_and_any_other_does() {
        let tokenless = json!({"decision": "allow", "permitted": true});
        assert!(read(tokenless.clone()).is_err());
        let ShadowEvaluation(shadow) = serde_json::from_value(tokenless).unwrap();
        assert_eq!(
            (shadow.decision, shadow.permit_token),
            (Decision::Allow, None)
        );
        for unreadable in [json!({}), json!({"decision": "maybe"}), json!(["allow"])] {
            assert!(serde_json::from_value::<ShadowEvaluation>(unreadable).is_err());
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
    fn a_field_of_another_form_is_written_again_unless_it_is_set_since() {
        let other =
            json!({"decision": "deny", "permit_id": 7, "reasons": {}, "budgets": 7, "x": [1]});
        let mut evaluation = read(other).unwrap();
        evaluation.reasons = vec!["a".to_owned()];
        evaluation.permit_id = Some("pt_1".to_owned());
        evaluation.budgets = vec![BudgetState::new("p", "b", "1", "2")];
        evaluation.code = Some("C".to_owned());
        let text = serde_json::to_string(&evaluation).unwrap();
        for name in ["permit_id", "reasons", "budgets"] {
            assert_eq!(text.matches(&format!("\"{name}\"")).count(), 1, "{text}");
        }
        assert_eq!(
            serde_json::to_value(&evaluation).unwrap(),
            json!({"decision": "deny", "permitted": false, "denial": {"code": "C"}, "deny_code": "C",
                "permit_id": "pt_1", "reasons": ["a"], "x": [1],
                "budgets": [{"policy": "p", "budget": "b", "amount": "1", "remaining": "2"}]})
        );
    }

    #[test]
    fn a_repeated_field_is_an_error_and_not_a_choice() {
        for twice in [
            r#"{"decision":"deny","decision":"allow","permit_token":"p"}"#,
            r#"{"decision":"deny","denial":{"reason":"a","reason":"b"}}"#,
            r#"{"decision":"deny","denial":{"a":[{"secret":"a","secret":"b"}]}}"#,
        ] {
            let error = serde_json::from_str::<Evaluation>(twice).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        // On these nothing is decided.
        for twice in [
            r#"{"decision":"deny","new":1,"new":2}"#,
            r#"{"decision":"deny","new":[{"a":1,"a":1}]}"#,
            r#"{"decision":"deny","risk_class":"low","risk_class":"high"}"#,
        ] {
            let evaluation: Evaluation = serde_json::from_str(twice).unwrap();
            assert!(evaluation.other.is_empty() && evaluation.risk_class.is_none());
        }
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
