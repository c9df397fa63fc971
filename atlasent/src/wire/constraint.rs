//! The `constraint_trace` of an answer: the policies that the authority considered, and their
//! results.

use serde::{Deserialize, Deserializer, Serialize};

use crate::Decision;

/// The policies that an authority considered for a decision, for people and dashboards.
///
/// An answer contains it if the request asked for it (`?include=constraint_trace`).
///
/// ```
/// use atlasent::wire::{ConstraintTrace, PolicyTrace, StageTrace};
/// use atlasent::Decision;
///
/// let freeze = PolicyTrace::new("freeze", Decision::Hold, "sha256:9f2c")
///     .with_stage(StageTrace::new("scope", true))
///     .with_stage(StageTrace::new("condition", true).with_detail("the freeze ends on Monday"));
/// let trace = ConstraintTrace::new(vec![freeze], Some("freeze".to_owned()));
///
/// assert_eq!(trace.rules_evaluated[0].stages[1].order, 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConstraintTrace {
    /// The considered policies, in order.
    #[serde(default, deserialize_with = "list")]
    pub rules_evaluated: Vec<PolicyTrace>,
    /// The policy that decided. It is unset on a clean allow, and an explicit `null` on the wire
    /// (contract, part B).
    #[serde(default)]
    pub matching_policy_id: Option<String>,
}

impl ConstraintTrace {
    /// Creates a trace from the considered policies and the id of the one that decided.
    #[must_use]
    pub fn new(rules_evaluated: Vec<PolicyTrace>, matching_policy_id: Option<String>) -> Self {
        Self {
            rules_evaluated,
            matching_policy_id,
        }
    }

    /// Returns all texts of the trace, to scrub them.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let Self {
            rules_evaluated,
            matching_policy_id,
        } = self;
        rules_evaluated
            .iter_mut()
            .flat_map(PolicyTrace::texts_mut)
            .chain(matching_policy_id)
    }
}

/// The result of one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyTrace {
    /// The policy's id.
    pub policy_id: String,
    /// The decision of this policy, as the word on the wire. It is a string, since a newer
    /// authority may use words that [`Decision`] does not know.
    pub decision: String,
    /// The fingerprint of the policy's text, which shows a later change.
    pub fingerprint: String,
    /// The risk score of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<f64>,
    /// The steps of the policy's evaluation.
    #[serde(default, deserialize_with = "list")]
    pub stages: Vec<StageTrace>,
}

impl PolicyTrace {
    fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let Self {
            policy_id,
            decision,
            fingerprint,
            risk_score: _,
            stages,
        } = self;
        let stages = stages.iter_mut().flat_map(StageTrace::texts_mut);
        [policy_id, decision, fingerprint].into_iter().chain(stages)
    }

    /// Creates the result of a policy, without steps.
    #[must_use]
    pub fn new(
        policy_id: impl Into<String>,
        decision: Decision,
        fingerprint: impl Into<String>,
    ) -> Self {
        Self {
            policy_id: policy_id.into(),
            decision: decision.as_str().to_owned(),
            fingerprint: fingerprint.into(),
            risk_score: None,
            stages: Vec::new(),
        }
    }

    /// Sets the risk score. A second call replaces the first.
    #[must_use]
    pub fn with_risk_score(mut self, score: f64) -> Self {
        self.risk_score = Some(score);
        self
    }

    /// Appends a step and numbers it.
    #[must_use]
    pub fn with_stage(mut self, mut stage: StageTrace) -> Self {
        stage.order = self.stages.len() as u64;
        self.stages.push(stage);
        self
    }
}

/// One step in the evaluation of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageTrace {
    /// The name of the step, such as `role_check` or `context`.
    pub stage: String,
    /// The rule, if the step is about a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Whether the request matched.
    pub matched: bool,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The position among the policy's steps, from zero.
    pub order: u64,
}

impl StageTrace {
    fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let Self {
            stage,
            rule,
            matched: _,
            detail,
            order: _,
        } = self;
        [Some(stage), rule.as_mut(), detail.as_mut()]
            .into_iter()
            .flatten()
    }

    /// Creates a step. [`PolicyTrace::with_stage`] sets its position.
    #[must_use]
    pub fn new(stage: impl Into<String>, matched: bool) -> Self {
        Self {
            stage: stage.into(),
            rule: None,
            matched,
            detail: None,
            order: 0,
        }
    }

    /// Sets the rule. A second call replaces the first.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Sets the note for people. A second call replaces the first.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Reads a list. `null` is the same as absent (contract, part A), so it reads as an empty list.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(json: Value) -> Result<ConstraintTrace, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn a_full_trace_is_read_and_written_as_it_stands_on_the_wire() {
        let json = json!({
            "rules_evaluated": [
                {"policy_id": "a", "decision": "allow", "fingerprint": "f1", "stages": []},
                {"policy_id": "b", "decision": "hold", "fingerprint": "f2", "risk_score": 0.25, "stages": [
                    {"stage": "scope", "matched": true, "order": 0},
                    {"stage": "condition", "rule": "r", "matched": false, "detail": "d", "order": 1}
                ]}
            ],
            "matching_policy_id": "b"
        });
        let built = ConstraintTrace::new(
            vec![
                PolicyTrace::new("a", Decision::Allow, "f1"),
                PolicyTrace::new("b", Decision::Hold, "f2")
                    .with_risk_score(0.25)
                    .with_stage(StageTrace::new("scope", true))
                    .with_stage(
                        StageTrace::new("condition", false)
                            .with_rule("r")
                            .with_detail("d"),
                    ),
            ],
            Some("b".to_owned()),
        );
        assert_eq!(serde_json::to_value(&built).unwrap(), json);
        assert_eq!(read(json).unwrap(), built);
    }

    #[test]
    fn a_clean_allow_says_null_and_not_nothing() {
        assert_eq!(
            serde_json::to_string(&ConstraintTrace::default()).unwrap(),
            r#"{"rules_evaluated":[],"matching_policy_id":null}"#
        );
    }

    #[test]
    fn null_is_the_same_as_absent_and_what_is_unknown_is_passed_over() {
        assert_eq!(read(json!({})).unwrap(), ConstraintTrace::default());
        assert_eq!(
            read(json!({"rules_evaluated": null, "matching_policy_id": null, "new": 1})).unwrap(),
            ConstraintTrace::default()
        );
        let trace = read(json!({"rules_evaluated": [
            {"policy_id": "a", "decision": "review", "fingerprint": "f", "risk_score": null, "stages": [
                {"stage": "s", "rule": null, "matched": true, "detail": null, "order": 7, "new": {}}
            ], "new": []}
        ]}))
        .unwrap();
        let policy = &trace.rules_evaluated[0];
        assert_eq!(
            (policy.decision.as_str(), policy.risk_score),
            ("review", None)
        );
        assert_eq!((policy.stages[0].order, &policy.stages[0].rule), (7, &None));
    }

    #[test]
    fn what_a_trace_cannot_do_without_is_asked_for() {
        for json in [
            json!({"rules_evaluated": [{"decision": "allow", "fingerprint": "f"}]}),
            json!({"rules_evaluated": [{"policy_id": "a", "fingerprint": "f"}]}),
            json!({"rules_evaluated": [{"policy_id": "a", "decision": "allow"}]}),
            json!({"rules_evaluated": [{"policy_id": "a", "decision": "allow", "fingerprint": "f",
                "stages": [{"stage": "s", "matched": 1, "order": 0}]}]}),
            json!({"rules_evaluated": [{"policy_id": "a", "decision": "allow", "fingerprint": "f",
                "stages": [{"stage": "s", "matched": true, "order": -1}]}]}),
            json!({"rules_evaluated": {}}),
            json!({"matching_policy_id": 1}),
        ] {
            assert!(read(json.clone()).is_err(), "{json}");
        }
    }
}
