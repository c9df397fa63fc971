//! Pending decisions: holds that approvers can release, as pure rules.

mod key;
mod question;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use key::{ApprovalKey, EscalationId, InvalidEscalationId};
pub use question::{AskedQuestions, Question, QuestionKey};

/// How long a pending decision is kept after its time is over, for people to look at.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A decision that waits for approvers, or that they made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEntry {
    /// The id of the pending decision.
    pub id: EscalationId,
    /// The sequence number of the event that opened it.
    pub sequence: u64,
    /// What is asked.
    pub question: Question,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it expires if the approvers have not decided.
    pub timeout_at: Timestamp,
    /// The state of the decision.
    pub state: ApprovalState,
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

impl ApprovalEntry {
    /// Returns whether approvers can still vote.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            ApprovalState::Pending | ApprovalState::Escalated
        )
    }

    /// Returns when stores may forget the decision.
    #[must_use]
    pub fn forget_at(&self) -> Timestamp {
        self.timeout_at
            .saturating_add(KEPT)
            .unwrap_or(Timestamp::MAX)
    }
}
