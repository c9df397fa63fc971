//! Pending decisions in stores: the lists that hold them, and how a change reads and writes them.

use super::{
    AgentKey, ApprovalEntry, ApprovalKey, AskedQuestions, Cell, CellKey, Changeset, EscalationId,
    NonceKey,
};
use jiff::Timestamp;

/// A page of decisions ends with the decision by which it reaches this many bytes.
pub(crate) const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A list of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ApprovalList {
    /// The decisions that approvers can still vote on.
    Open,
    /// The decisions that are made or have expired.
    Closed,
}

impl ApprovalList {
    /// Returns the list that holds a decision.
    #[must_use]
    pub fn from_entry(entry: &ApprovalEntry) -> Self {
        match entry.is_open() {
            true => Self::Open,
            false => Self::Closed,
        }
    }
}

impl EscalationId {
    /// Returns the cells that a change must name among its reads to
    /// [keep](Changeset::keep_approval) the decision.
    #[must_use]
    pub fn cells(&self) -> [CellKey; 2] {
        [CellKey::Approval(self.key()), CellKey::OpenApprovals]
    }
}

impl Changeset<'_> {
    /// Returns a pending decision. `None` for an unknown one, and for one that the change did not
    /// name among its reads.
    #[must_use]
    pub fn approval(&self, key: ApprovalKey) -> Option<&ApprovalEntry> {
        self.cell(CellKey::Approval(key)).and_then(Cell::approval)
    }

    /// Returns how many decisions are open. The change must name their cell among its reads.
    #[must_use]
    pub fn open_approvals(&self) -> u64 {
        match self.cell(CellKey::OpenApprovals) {
            Some(Cell::OpenApprovals(count)) => *count,
            _ => 0,
        }
    }

    /// Writes a pending decision, and counts it if that opens or closes it. The change must name
    /// its [cells](EscalationId::cells) among its reads.
    ///
    /// Returns `false`, and writes nothing, if the decision is closed and `entry` is open: a
    /// decision never opens again.
    #[must_use]
    pub fn keep_approval(&mut self, entry: ApprovalEntry) -> bool {
        let key = entry.id.key();
        let before = self.approval(key).map(ApprovalEntry::is_open);
        let count = self.open_approvals();
        let counted = match (before, entry.is_open()) {
            (Some(false), true) => return false,
            (None, true) => count.saturating_add(1),
            (Some(true), false) => count.saturating_sub(1),
            (Some(true), true) | (Some(false) | None, false) => count,
        };
        if counted != count {
            self.keep(CellKey::OpenApprovals, Cell::OpenApprovals(counted));
        }
        self.keep(CellKey::Approval(key), Cell::Approval(Box::new(entry)));
        true
    }

    /// Returns whether a nonce was claimed. The change must name its cell among its reads.
    #[must_use]
    pub fn is_claimed(&self, nonce: NonceKey) -> bool {
        self.cell(CellKey::Nonce(nonce)).is_some()
    }

    /// Claims a nonce, which is kept until its approval has expired.
    pub fn claim(&mut self, nonce: NonceKey, expires_at: Timestamp) {
        self.keep(CellKey::Nonce(nonce), Cell::Nonce(expires_at));
    }

    /// Returns the questions of an agent that are held. The change must name their cell among its
    /// reads.
    #[must_use]
    pub fn questions(&self, agent: AgentKey) -> AskedQuestions {
        match self.cell(CellKey::Questions(agent)) {
            Some(Cell::Questions(asked)) => asked.clone(),
            _ => AskedQuestions::default(),
        }
    }

    /// Writes the questions of an agent that are held.
    pub fn keep_questions(&mut self, agent: AgentKey, asked: AskedQuestions) {
        self.keep(CellKey::Questions(agent), Cell::Questions(asked));
    }
}

/// Returns an open decision that an event opened.
#[cfg(test)]
pub(crate) fn example(sequence: u64) -> ApprovalEntry {
    use jiff::SignedDuration;

    use super::Question;

    let question = Question {
        agent: atlasent::Agent::new("bot").unwrap(),
        actors: Vec::new(),
        action: "deploy".to_owned(),
        resource: None,
        environment: None,
        action_hash: "a1".repeat(32),
        key_environment: None,
    };
    let start = Timestamp::UNIX_EPOCH;
    let end = start + SignedDuration::from_hours(1);
    let mut entry = ApprovalEntry::new(EscalationId::random(), question, start, end);
    entry.sequence = sequence;
    entry
}
