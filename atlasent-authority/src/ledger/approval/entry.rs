//! A pending decision: its states, and the changes between them.

use std::collections::BTreeSet;

use atlasent::wire::{ApprovalRecord, EscalationStatus, ExpiredReason};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{EscalationId, Question, QuestionKey, Release, ShownText, Vote};
use crate::ledger::AgentKey;
use crate::local::Caller;
use crate::policy::{ApprovalRule, ApproverName, Approvers};

/// How long a pending decision is kept after its time is over, for people to look at.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many askers a pending decision names. A question of more is held without joining it.
pub(crate) const MAX_ASKERS: usize = 64;

/// A decision that waits for approvers, or that they made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEntry {
    /// The id of the pending decision.
    pub id: EscalationId,
    /// The sequence number of the event that opened it.
    pub sequence: u64,
    /// What is asked.
    pub question: Question,
    /// Why it is held, for people.
    pub reason: String,
    /// The digest of the policies that hold it. Unset for a decision that no policy holds: it was
    /// opened by hand, and releases nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What the policies ask for. Each rule must be satisfied.
    pub rules: Vec<ApprovalRule>,
    /// The number of times that a decision opened by hand can be escalated to approvers of the
    /// caller's choice. 0 for a decision that policies hold, since they name the approvers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub free_steps: u32,
    /// The risk score that a caller gave a decision that it opened by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<Number>,
    /// What the approvers see of the request.
    pub shown: ShownText,
    /// The SHA-256 of what the approvers see, in lower-case hex.
    pub shown_hash: String,
    /// Those who asked. None of them may vote, and no approver can use the release.
    pub askers: BTreeSet<Asker>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it expires if the approvers have not decided.
    pub timeout_at: Timestamp,
    /// The state of the decision.
    pub state: ApprovalState,
    /// The votes, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// The escalations, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// How the decision was closed. Unset while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// What an approved decision releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}

/// A caller that asked a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// An API key, by its id.
    Key(String),
    /// The person that the API key belongs to.
    Principal(String),
}

/// The state of a pending decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for votes.
    Pending,
    /// Waits for votes, after it was escalated.
    Escalated,
    /// Has the approvals that the policies ask for.
    Approved,
    /// Was rejected by an approver.
    Rejected,
    /// Expired without a decision.
    TimedOut,
}

impl From<ApprovalState> for EscalationStatus {
    fn from(state: ApprovalState) -> Self {
        match state {
            ApprovalState::Pending => Self::Pending,
            ApprovalState::Escalated => Self::Escalated,
            ApprovalState::Approved => Self::Approved,
            ApprovalState::Rejected => Self::Rejected,
            ApprovalState::TimedOut => Self::TimedOut,
        }
    }
}

/// One escalation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The number of the step, from 1.
    pub depth: u32,
    /// Who could vote before it, for people.
    pub from: String,
    /// Who can vote as well since then, for people.
    pub to: String,
    /// The principal that escalated. Unset where the time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, where a reason was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// How a pending decision was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// When.
    pub at: Timestamp,
    /// The principal, or the API key, that closed it. Unset where the time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The note of the last vote, or the reason of the expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it expired. Unset for a decision that approvers made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<ExpiredReason>,
}

impl ApprovalEntry {
    /// Creates a decision that waits for approvers. Nothing holds it yet, and it has no rules: an
    /// authority sets both, and the event that opens it.
    #[must_use]
    pub fn new(
        id: EscalationId,
        question: Question,
        opened_at: Timestamp,
        timeout_at: Timestamp,
    ) -> Self {
        Self {
            id,
            sequence: 0,
            question,
            reason: String::new(),
            policy: None,
            rules: Vec::new(),
            free_steps: 0,
            risk_score: None,
            shown: ShownText::Readable("{}".to_owned()),
            shown_hash: String::new(),
            askers: BTreeSet::new(),
            opened_at,
            timeout_at,
            state: ApprovalState::Pending,
            votes: Vec::new(),
            steps: Vec::new(),
            closing: None,
            release: None,
        }
    }

    /// Returns whether approvers can still vote, if its time is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            ApprovalState::Pending | ApprovalState::Escalated
        )
    }

    /// Returns whether a caller may see the decision: keys of one environment do not see what keys
    /// of another asked.
    pub(crate) fn is_known_to(&self, caller: &Caller<'_>) -> bool {
        let asked = self.question.key_environment.as_deref();
        match (asked, caller.key_environment()) {
            (Some(asked), Some(asking)) => asked == asking,
            _ => true,
        }
    }

    /// Returns the approvals, as a permit records them.
    #[must_use]
    pub fn approval_records(&self) -> Vec<ApprovalRecord> {
        let approvals = self.votes.iter().filter(|vote| vote.approves);
        approvals.map(|vote| vote.record(self)).collect()
    }

    /// Returns the key of the agent that asked.
    #[must_use]
    pub fn agent_key(&self) -> AgentKey {
        let environment = self.question.key_environment.as_deref();
        AgentKey::new(self.question.agent.as_str(), environment)
    }

    /// Returns the key under which the agent's questions name the decision. A decision that was
    /// opened by hand has a key of its own, since it answers no question.
    #[must_use]
    pub fn question_key(&self) -> QuestionKey {
        match self.policy {
            Some(_) => self.question.key(),
            None => self.question.key_by_hand(self.id),
        }
    }

    /// Returns how often the decision was escalated.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.steps.len()
    }

    /// Returns how often the decision can be escalated: as often as the rule with the most steps.
    #[must_use]
    pub fn max_depth(&self) -> usize {
        self.named_steps().max(self.free_steps as usize)
    }

    /// Returns how many steps the rules name.
    fn named_steps(&self) -> usize {
        let steps = self.rules.iter().map(|rule| rule.escalate_to.len());
        steps.max().unwrap_or(0)
    }

    /// Sets the approvers of the next step of a decision that was opened by hand. Has no effect if
    /// the next step has approvers already, or if no further step is left.
    pub fn name_next_step(&mut self, approvers: &Approvers) {
        let depth = self.depth();
        if self.policy.is_none() && depth == self.named_steps() && depth < self.free_steps as usize
        {
            for rule in &mut self.rules {
                rule.escalate_to.push(approvers.clone());
            }
        }
    }

    /// Returns when stores may forget the decision.
    #[must_use]
    pub fn forget_at(&self) -> Timestamp {
        let released = self.release.as_ref().map(|release| release.until);
        let over = released.map_or(self.timeout_at, |until| until.max(self.timeout_at));
        over.saturating_add(KEPT).unwrap_or(Timestamp::MAX)
    }

    /// Adds a caller that asks the same question. Returns `false` if there are too many already.
    pub fn join(&mut self, askers: impl IntoIterator<Item = Asker>) -> bool {
        self.askers.extend(askers);
        self.askers.len() <= MAX_ASKERS
    }

    /// Lets the approvers of the next step vote as well, and starts the time again. Returns `false`
    /// if no further step is named.
    pub fn escalate(&mut self, by: Option<String>, reason: Option<String>, now: Timestamp) -> bool {
        let depth = self.depth();
        if !self.is_open() || depth >= self.named_steps() {
            return false;
        }
        let (from, to) = (self.approvers_at(depth), self.approvers_of_step(depth));
        self.steps.push(Step {
            depth: u32::try_from(depth + 1).unwrap_or(u32::MAX),
            from,
            to,
            by,
            reason,
            at: now,
        });
        self.state = ApprovalState::Escalated;
        let ttl = self.ttl();
        self.timeout_at = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        true
    }

    /// Closes an open decision without a result.
    pub fn time_out(
        &mut self,
        expired: ExpiredReason,
        by: Option<String>,
        note: Option<String>,
        now: Timestamp,
    ) {
        self.state = ApprovalState::TimedOut;
        self.closing = Some(Closing {
            at: now,
            by,
            note,
            expired: Some(expired),
        });
    }

    /// Returns when the last possible escalation expires. Until then, the same question finds an
    /// open decision.
    #[must_use]
    pub fn last_timeout(&self) -> Timestamp {
        let left = self.max_depth().saturating_sub(self.depth());
        let left = i32::try_from(left).unwrap_or(i32::MAX);
        let more = self.ttl().saturating_mul(left);
        self.timeout_at
            .saturating_add(more)
            .unwrap_or(Timestamp::MAX)
    }

    /// Returns why the decision ends when its time is over. The chain is exhausted only if each of
    /// its steps was taken: one without steps, or that had some left, was not decided in time.
    pub(crate) fn expired_reason(&self) -> ExpiredReason {
        let depth = self.depth();
        match depth > 0 && depth >= self.max_depth() {
            true => ExpiredReason::EscalationChainExhausted,
            false => ExpiredReason::SlaExpired,
        }
    }

    /// Returns the approvers of a rule who were asked last. Unless the decision was escalated, these
    /// are the first approvers of the rule.
    #[cfg(feature = "server")]
    pub(crate) fn last_approvers<'a>(&self, rule: &'a ApprovalRule) -> &'a Approvers {
        let step = self.depth().checked_sub(1);
        let step = step.and_then(|step| rule.escalate_to.get(step));
        step.unwrap_or(&rule.approvers)
    }

    /// Returns whether a rule names a person or a role among those who can vote now.
    pub(crate) fn names(&self, name: &ApproverName) -> bool {
        let mut lists = self.lists_at(self.depth());
        lists.any(|approvers| match approvers {
            Approvers::OneOf(names) => names.contains(name),
            Approvers::Any => false,
        })
    }

    /// Returns the principals that approved, in the order of their votes.
    #[must_use]
    pub fn approved_by(&self) -> Vec<std::sync::Arc<str>> {
        let approvals = self.votes.iter().filter(|vote| vote.approves);
        approvals
            .map(|vote| vote.approver.principal.as_str().into())
            .collect()
    }

    /// Returns how long the approvers have: the shortest time of the rules.
    #[must_use]
    pub fn ttl(&self) -> SignedDuration {
        ttl(&self.rules)
    }

    /// Returns who can vote now, for people.
    #[must_use]
    pub fn approvers(&self) -> String {
        self.approvers_at(self.depth())
    }

    fn approvers_at(&self, depth: usize) -> String {
        let texts: BTreeSet<String> = self.lists_at(depth).map(ToString::to_string).collect();
        texts.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Returns the lists of those who can vote after so many escalations, of all rules.
    fn lists_at(&self, depth: usize) -> impl Iterator<Item = &Approvers> {
        self.rules.iter().flat_map(move |rule| {
            let steps = rule.escalate_to.iter().take(depth);
            std::iter::once(&rule.approvers).chain(steps)
        })
    }

    fn approvers_of_step(&self, step: usize) -> String {
        let all = self
            .rules
            .iter()
            .filter_map(|rule| rule.escalate_to.get(step));
        let texts: BTreeSet<String> = all.map(ToString::to_string).collect();
        texts.into_iter().collect::<Vec<_>>().join(", ")
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Returns how long the approvers have: the shortest time of the rules.
pub(crate) fn ttl(rules: &[ApprovalRule]) -> SignedDuration {
    let shortest = rules.iter().map(|rule| rule.ttl).min().unwrap_or_default();
    SignedDuration::try_from(shortest).unwrap_or(SignedDuration::MAX)
}
