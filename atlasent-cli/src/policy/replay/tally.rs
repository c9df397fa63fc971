//! The decisions of a replay, counted. Its size is bounded, however long the trail is.

use std::collections::BTreeMap;

use atlasent::audit::Envelope;
use atlasent_authority::Policies;

use super::recorded::{Recorded, RecordedDecision};

/// How many different changes are kept apart.
const MAX_CHANGES: usize = 10_000;

/// How many different codes of decisions outside the policies are kept apart.
const MAX_CODES: usize = 100;

/// The counts of a replay.
#[derive(Default)]
pub(super) struct Tally {
    /// The decisions that were replayed.
    pub(super) replayed: u64,
    /// The replayed decisions that would have been another.
    pub(super) changed: u64,
    /// The replayed decisions that are the same, by other policies or with another code.
    pub(super) other_reason: u64,
    pub(super) without_context: u64,
    pub(super) not_rebuilt: u64,
    /// The first event whose request cannot be rebuilt.
    pub(super) first_not_rebuilt: Option<Example>,
    /// The decisions that did not come from policies, by code.
    pub(super) not_by_policies: BTreeMap<String, u64>,
    changes: BTreeMap<Change, Occurrences>,
    /// The changed decisions beyond the number of changes that are kept apart.
    pub(super) beyond: u64,
}

/// One kind of change: all decisions with these have it in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) action: String,
    pub(super) agent: String,
    pub(super) before: Verdict,
    pub(super) after: Verdict,
}

/// A decision, and what it rests on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Verdict {
    pub(super) decision: &'static str,
    pub(super) code: Option<String>,
    /// The ids of the policies that made the decision, sorted.
    pub(super) policies: Vec<String>,
}

/// How often a change occurs.
pub(super) struct Occurrences {
    pub(super) count: u64,
    pub(super) example: Example,
}

/// The event of one decision.
pub(super) struct Example {
    pub(super) sequence: u64,
    pub(super) id: String,
}

impl Example {
    fn new(envelope: &Envelope) -> Self {
        Self {
            sequence: envelope.sequence,
            id: envelope.id.clone(),
        }
    }
}

impl Tally {
    /// Counts a decision. One that can be replayed is decided again by `policies`.
    pub(super) fn add(&mut self, recorded: Recorded, envelope: &Envelope, policies: &Policies) {
        match recorded {
            Recorded::Decision(recorded) => self.replay(*recorded, envelope, policies),
            Recorded::WithoutContext => self.without_context += 1,
            Recorded::NotRebuilt => {
                self.not_rebuilt += 1;
                (self.first_not_rebuilt).get_or_insert_with(|| Example::new(envelope));
            }
            Recorded::NotByPolicies(code) => {
                let is_kept = self.not_by_policies.len() < MAX_CODES
                    || self.not_by_policies.contains_key(&code);
                let code = if is_kept { code } else { "other".to_owned() };
                *self.not_by_policies.entry(code).or_default() += 1;
            }
        }
    }

    fn replay(&mut self, recorded: RecordedDecision, envelope: &Envelope, policies: &Policies) {
        self.replayed += 1;
        let explained = policies.explain(&recorded.request);
        let mut before = Verdict {
            decision: recorded.decision.as_str(),
            code: recorded.code,
            policies: recorded.policies,
        };
        before.policies.sort_unstable();
        let after = Verdict {
            decision: explained.decision.as_str(),
            code: explained.code,
            policies: explained.determining,
        };
        if before.decision == after.decision {
            self.other_reason += u64::from(before != after);
            return;
        }
        self.changed += 1;
        let change = Change {
            action: recorded.request.action_type.into_owned(),
            agent: recorded.request.actor_id.as_str().to_owned(),
            before,
            after,
        };
        if let Some(occurrences) = self.changes.get_mut(&change) {
            occurrences.count += 1;
        } else if self.changes.len() < MAX_CHANGES {
            let occurrences = Occurrences {
                count: 1,
                example: Example::new(envelope),
            };
            self.changes.insert(change, occurrences);
        } else {
            self.beyond += 1;
        }
    }

    /// Returns the changes, the most frequent first.
    pub(super) fn changes(&self) -> Vec<(&Change, &Occurrences)> {
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_by_key(|(_, occurrences)| std::cmp::Reverse(occurrences.count));
        changes
    }

    /// Returns why there is nothing to compare.
    pub(super) fn why_nothing_is_replayed(&self) -> String {
        if self.without_context > 0 {
            let events = self.without_context;
            return format!(
                "the context was not recorded ({events} events; `atlasent serve --record-context` records it)"
            );
        }
        match self.not_rebuilt {
            0 => "the trail has no decision of policies".to_owned(),
            events => format!("the requests cannot be rebuilt ({events} events)"),
        }
    }
}
