//! The votes on an escalation so far, counted.

use serde::{Deserialize, Serialize};

use crate::json::object::Object;

/// The votes on an escalation so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Object<WireProgress>")]
#[non_exhaustive]
pub struct QuorumProgress {
    /// The number of approvals that are required.
    pub required: u32,
    /// The number of approvals so far.
    pub approved: u32,
    /// The number of rejections so far.
    pub rejected: u32,
    /// The number of approvals that are missing.
    pub remaining: u32,
    /// Whether there are enough approvals.
    pub satisfied: bool,
    /// Whether enough approvers rejected that the quorum cannot be reached.
    pub rejected_terminal: bool,
}

impl QuorumProgress {
    /// Creates the progress of a quorum that no rejection has ended.
    ///
    /// ```
    /// use atlasent::wire::QuorumProgress;
    ///
    /// let progress = QuorumProgress::new(2, 1, 0);
    /// assert_eq!((progress.remaining, progress.satisfied), (1, false));
    /// ```
    #[must_use]
    pub fn new(required: u32, approved: u32, rejected: u32) -> Self {
        Self {
            required,
            approved,
            rejected,
            remaining: required.saturating_sub(approved),
            satisfied: approved >= required,
            rejected_terminal: false,
        }
    }
}

#[derive(Deserialize)]
struct WireProgress {
    required: u32,
    approved: u32,
    rejected: u32,
    remaining: u32,
    satisfied: bool,
    rejected_terminal: bool,
}

impl From<Object<WireProgress>> for QuorumProgress {
    fn from(Object(wire): Object<WireProgress>) -> Self {
        Self {
            required: wire.required,
            approved: wire.approved,
            rejected: wire.rejected,
            remaining: wire.remaining,
            satisfied: wire.satisfied,
            rejected_terminal: wire.rejected_terminal,
        }
    }
}
