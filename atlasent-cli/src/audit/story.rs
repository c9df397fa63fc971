//! The stories of permits, told by the events of a trail: the question, its approvals, the
//! verification, and how the body ended.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use atlasent::audit::Event;
use serde::Serialize;

/// The stories of all permits of a trail.
///
/// Events are added one at a time. A permit's event names it by its hash. The events of an approval
/// name the approval, and belong to the permit whose allow names the same approval.
#[derive(Default)]
pub(super) struct Stories {
    /// The story of each permit, by its hash.
    by_permit: HashMap<String, Story>,
    /// The steps of each approval, by its id: the held question, the votes and the outcome.
    approvals: HashMap<String, Vec<Step>>,
}

/// What happened to one permit.
#[derive(Serialize)]
pub(super) struct Story {
    pub(super) permit_id: String,
    pub(super) permit_hash: String,
    pub(super) agent: Option<String>,
    pub(super) action: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) end: End,
    pub(super) steps: Vec<Step>,
}

/// How far a permit got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// No verification passed, so no body ran.
    Unused,
    /// A body may have run, and nothing tells how it ended.
    NeverEnded,
    Completed,
    Failed,
    Cancelled,
}

/// One event of a story.
#[derive(Clone, Serialize)]
pub(super) struct Step {
    pub(super) sequence: u64,
    pub(super) occurred_at: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) details: BTreeMap<&'static str, String>,
}

/// The members of payloads that a story repeats.
const DETAILS: [&str; 16] = [
    "escalation_id",
    "approver",
    "via",
    "artifact_hash",
    "vote",
    "note",
    "policies",
    "environment",
    "request_id",
    "presented_by",
    "presented_for",
    "duration_ms",
    "result_hash",
    "error",
    "code",
    "reason",
];

impl End {
    /// Returns how far an event of this type shows that its permit got.
    fn from_kind(kind: &str) -> Self {
        match kind {
            "permit.verified" => Self::NeverEnded,
            "permit.completed" => Self::Completed,
            "permit.failed" => Self::Failed,
            "permit.cancelled" => Self::Cancelled,
            _ => Self::Unused,
        }
    }

    /// Returns the words for the report.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::NeverEnded => "used and never ended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Stories {
    /// Adds the next event of the trail.
    pub(super) fn add(&mut self, event: &Event) {
        let text = |key| event.payload.text(key).map(Cow::into_owned);
        let envelope = &event.envelope;
        let approval = text("escalation_id");
        let Some(hash) = text("permit_hash") else {
            // The revocation of a whole scope names neither.
            if let Some(approval) = approval {
                let steps = self.approvals.entry(approval).or_default();
                steps.push(Step::new(event));
            }
            return;
        };
        let story = match self.by_permit.entry(hash) {
            Entry::Occupied(story) => story.into_mut(),
            Entry::Vacant(new) => {
                let story = Story::new(new.key().clone());
                new.insert(story)
            }
        };
        // One approval may release several permits.
        if let (Some(approval), "evaluate.allow") = (approval, &*envelope.kind) {
            let steps = self.approvals.get(&approval);
            story.steps.extend(steps.into_iter().flatten().cloned());
        }
        story.steps.push(Step::new(event));
        story.agent = (story.agent.take()).or_else(|| envelope.actor_id.clone());
        story.action = story.action.take().or_else(|| text("action_type"));
        story.resource = (story.resource.take()).or_else(|| envelope.resource_id.clone());
        story.end = story.end.max(End::from_kind(&envelope.kind));
    }

    /// Returns the stories, by their first events.
    pub(super) fn finish(self) -> Vec<Story> {
        let mut stories: Vec<_> = self.by_permit.into_values().collect();
        stories.sort_by_key(|story| story.steps.first().map(|step| step.sequence));
        stories
    }
}

impl Story {
    fn new(permit_hash: String) -> Self {
        // The public id is made of the first half of the hash (contract, part D).
        let digits: String = permit_hash.chars().take(32).collect();
        Self {
            permit_id: format!("pt_{digits}"),
            permit_hash,
            agent: None,
            action: None,
            resource: None,
            end: End::Unused,
            steps: Vec::new(),
        }
    }
}

impl Step {
    fn new(event: &Event) -> Self {
        let details = DETAILS.into_iter().filter_map(|key| {
            let value = event.payload.get(key)?.get();
            let text = event.payload.text(key).map(Cow::into_owned);
            Some((key, text.unwrap_or_else(|| value.to_owned())))
        });
        Self {
            sequence: event.envelope.sequence,
            occurred_at: event.envelope.occurred_at.clone(),
            kind: event.envelope.kind.clone(),
            details: details.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, kind: &str, payload: &str) -> Event {
        let event = format!(
            r#"{{"id": "{sequence}", "org_id": "local", "sequence": {sequence}, "type": "{kind}",
                "actor_id": "bot", "resource_id": "api", "occurred_at": "2026-11-01T09:00:00Z", "created_at": "2026-11-01T09:00:00Z",
                "payload": {payload}, "previous_hash": "", "hash": ""}}"#
        );
        serde_json::from_str(&event).unwrap()
    }

    #[test]
    fn an_approval_is_part_of_the_story_of_the_permit_that_it_released() {
        let mut stories = Stories::default();
        for (kind, payload) in [
            (
                "evaluate.hold",
                r#"{"action_type": "deploy", "escalation_id": "esc_1"}"#,
            ),
            ("approval.requested", r#"{"escalation_id": "esc_1"}"#),
            (
                "approval.voted",
                r#"{"escalation_id": "esc_1", "approver": "alice"}"#,
            ),
            ("approval.requested", r#"{"escalation_id": "esc_2"}"#),
            ("approval.granted", r#"{"escalation_id": "esc_1"}"#),
            (
                "evaluate.allow",
                r#"{"action_type": "deploy", "permit_hash": "aa", "escalation_id": "esc_1"}"#,
            ),
            ("permit.verified", r#"{"permit_hash": "aa"}"#),
            ("permit.revoked", r#"{"all": true}"#),
        ] {
            stories.add(&event(1, kind, payload));
        }
        let stories = stories.finish();
        let [story] = &*stories else {
            panic!("{} stories", stories.len());
        };
        let kinds: Vec<_> = story.steps.iter().map(|step| &*step.kind).collect();
        assert_eq!(
            kinds,
            [
                "evaluate.hold",
                "approval.requested",
                "approval.voted",
                "approval.granted",
                "evaluate.allow",
                "permit.verified"
            ]
        );
        assert_eq!(story.end, End::NeverEnded);
        assert_eq!(story.steps[2].details["approver"], "alice");
    }

    #[test]
    fn a_permit_is_as_far_as_its_furthest_event() {
        for (kinds, end) in [
            (&["evaluate.allow"][..], End::Unused),
            (&["evaluate.allow", "permit.verify_failed"], End::Unused),
            (&["evaluate.allow", "permit.revoked"], End::Unused),
            (&["evaluate.allow", "permit.verified"], End::NeverEnded),
            (&["permit.verified", "permit.revoked"], End::NeverEnded),
            (
                &["permit.verified", "permit.failed", "permit.revoked"],
                End::Failed,
            ),
            (&["permit.cancelled"], End::Cancelled),
        ] {
            let mut stories = Stories::default();
            for kind in kinds {
                stories.add(&event(1, kind, r#"{"permit_hash": "aa"}"#));
            }
            assert_eq!(stories.finish()[0].end, end, "{kinds:?}");
        }
    }
}
