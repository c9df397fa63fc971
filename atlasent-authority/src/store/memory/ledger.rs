//! The bounded cells of [`MemoryStore`](super::MemoryStore), and which of them are forgotten when
//! room is needed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::ledger::replay::ReplayKey;
use crate::ledger::{ApprovalEntry, ApprovalKey, PermitEntry};
use crate::store::{ApprovalList, Batch, Cell, CellKey, StoreError};

/// How many expired counts and questions of agents, and how many expired decisions, each change
/// removes at most: more than a change adds.
const SWEPT: usize = 4;

/// How many closed decisions are kept at most.
const CLOSED: usize = 10_000;

/// The cells, with the indexes for forgetting and listing them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    cells: HashMap<CellKey, Cell>,
    /// Permits and replays in the order of their expiry. They count against the limit.
    ends: BTreeSet<(Timestamp, CellKey)>,
    /// The counts and questions of agents in the order of their expiry. Each belongs to a permit or
    /// to a decision that is known, or was until lately.
    agents: BTreeSet<(Timestamp, CellKey)>,
    /// The decisions by their lists and the sequence numbers of the events that opened them.
    approvals: BTreeMap<(ApprovalList, u64), ApprovalKey>,
    /// The closed decisions in the order of their expiry: those whose time was over first are
    /// forgotten first, so that an approval that can still be used is kept.
    closed: BTreeSet<(Timestamp, CellKey)>,
    /// Used and revoked permits and their replays, which may be forgotten when room is needed.
    spent: VecDeque<CellKey>,
    /// The permits by the sequence numbers of the events that issued them.
    issued: BTreeMap<u64, PermitKey>,
    /// The replays by their permits.
    replays: HashMap<PermitKey, ReplayKey>,
}

impl Ledger {
    pub(super) fn get(&self, key: CellKey) -> Option<&Cell> {
        self.cells.get(&key)
    }

    /// Returns how many cells count against the limit.
    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns how many cells there are in all.
    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Returns the permits that were issued before an event, the newest first.
    pub(super) fn permits(&self, before: u64) -> impl Iterator<Item = (PermitKey, &PermitEntry)> {
        let older = self.issued.range(..before).rev();
        older.filter_map(|(_, key)| Some((*key, self.permit(*key)?)))
    }

    pub(super) fn key_of(&self, id: PermitId) -> Option<PermitKey> {
        self.issued.values().find(|key| key.id() == id).copied()
    }

    /// Returns the decisions of a list that were opened before an event, the newest first.
    pub(super) fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
    ) -> impl Iterator<Item = &ApprovalEntry> {
        let older = self.approvals.range((list, 0)..(list, before)).rev();
        older.filter_map(|(_, key)| self.approval(*key))
    }

    pub(super) fn approval(&self, key: ApprovalKey) -> Option<&ApprovalEntry> {
        self.cells.get(&CellKey::Approval(key))?.approval()
    }

    fn permit(&self, key: PermitKey) -> Option<&PermitEntry> {
        self.cells.get(&CellKey::Permit(key))?.permit()
    }

    /// Forgets cells until the new cells of a batch have room.
    pub(super) fn make_room(&mut self, batch: &Batch, limit: usize) -> Result<(), StoreError> {
        let is_new = |key: &CellKey| is_limited(*key) && !self.cells.contains_key(key);
        let new = batch.cells().filter(|(key, _)| is_new(key)).count();
        while new > 0 && self.len() + new > limit {
            if !self.forget_one(batch.head().time) {
                return Err(StoreError::Full {
                    permits: self.len(),
                });
            }
        }
        Ok(())
    }

    /// Forgets an expired cell, or else the oldest spent one. Returns whether it found one.
    fn forget_one(&mut self, now: Timestamp) -> bool {
        let first = self.ends.first().filter(|(end, _)| *end <= now);
        if let Some((_, key)) = first.copied() {
            return self.forget(key);
        }
        // The cell may have been forgotten as expired, or written again since.
        while let Some(key) = self.spent.pop_front() {
            if self.is_spent(key) {
                return self.forget(key);
            }
        }
        false
    }

    /// Returns whether the cell may be forgotten early: a used or revoked permit is refused like an
    /// unknown one, and so is a replay of it.
    fn is_spent(&self, key: CellKey) -> bool {
        let is_gone_or_spent =
            |permit: PermitKey| self.permit(permit).is_none_or(PermitEntry::is_spent);
        match self.cells.get(&key) {
            Some(Cell::Permit(entry)) => entry.is_spent(),
            Some(Cell::Replay(replay)) => replay.permit.is_none_or(is_gone_or_spent),
            _ => false,
        }
    }

    fn forget(&mut self, key: CellKey) -> bool {
        let Some(cell) = self.cells.remove(&key) else {
            return false;
        };
        self.unlink(key, &cell);
        if let CellKey::Permit(permit) = key {
            let replay = self.replays.remove(&permit);
            self.spent.extend(replay.map(CellKey::Replay));
        }
        true
    }

    /// Keeps the cells of a batch.
    pub(super) fn keep(&mut self, batch: &mut Batch, limit: usize) {
        for (key, cell) in batch.take_cells() {
            self.keep_one(key, cell);
        }
        for _ in 0..SWEPT {
            let is_over = |end: &&(Timestamp, CellKey)| end.0 <= batch.head().time;
            let agent = self.agents.first().filter(is_over).copied();
            agent.map(|(_, key)| self.forget(key));
            let is_full = self.closed.len() > CLOSED;
            let closed = self.closed.first().filter(|end| is_full || is_over(end));
            closed.copied().map(|(_, key)| self.forget(key));
        }
        // Cells that were forgotten as expired are still listed as spent.
        if self.spent.len() > limit.saturating_mul(2).saturating_add(1_000) {
            let spent = std::mem::take(&mut self.spent);
            let left = spent.into_iter().filter(|key| self.is_spent(*key));
            self.spent = left.collect();
        }
    }

    fn keep_one(&mut self, key: CellKey, cell: Cell) {
        if let (CellKey::Permit(permit), Cell::Permit(entry)) = (key, &cell)
            && let Some(Cell::Permit(known)) = self.cells.get_mut(&key)
            && (known.expires_at, known.sequence) == (entry.expires_at, entry.sequence)
        {
            // It stays where it is listed.
            let was_spent = known.is_spent();
            *known = Arc::clone(entry);
            if !was_spent && entry.is_spent() {
                self.list_spent(permit);
            }
            return;
        }
        if let Some(former) = self.cells.remove(&key) {
            self.unlink(key, &former);
        }
        match (key, &cell) {
            (CellKey::Agent(_), Cell::Agent(outstanding)) if outstanding.is_empty() => return,
            (
                CellKey::Agent(_) | CellKey::Budget(_) | CellKey::Questions(_) | CellKey::Nonce(_),
                _,
            ) => {
                self.agents.insert((cell.expires_at(), key));
            }
            (key, _) if is_limited(key) => drop(self.ends.insert((cell.expires_at(), key))),
            // The cell never expires.
            _ => {}
        }
        match (key, &cell) {
            (CellKey::Permit(permit), Cell::Permit(entry)) => {
                self.issued.insert(entry.sequence, permit);
            }
            (CellKey::Replay(key), Cell::Replay(replay)) => {
                let permit = replay.permit;
                permit.map(|permit| self.replays.insert(permit, key));
            }
            (CellKey::Approval(approval), Cell::Approval(entry)) => {
                let list = ApprovalList::from_entry(entry);
                self.approvals.insert((list, entry.sequence), approval);
                if list == ApprovalList::Closed {
                    self.closed.insert((cell.expires_at(), key));
                }
            }
            _ => {}
        }
        self.cells.insert(key, cell);
        if !is_limited(key) || !self.is_spent(key) {
            return;
        }
        match key {
            CellKey::Permit(permit) => self.list_spent(permit),
            key => self.spent.push_back(key),
        }
    }

    /// Lists a spent permit, and its replay.
    fn list_spent(&mut self, permit: PermitKey) {
        self.spent.push_back(CellKey::Permit(permit));
        let replay = self.replays.get(&permit).copied();
        self.spent.extend(replay.map(CellKey::Replay));
    }

    /// Removes a cell from the indexes.
    fn unlink(&mut self, key: CellKey, cell: &Cell) {
        let end = (cell.expires_at(), key);
        match cell {
            Cell::Agent(_) | Cell::Budget(_) | Cell::Questions(_) | Cell::Nonce(_) => {
                self.agents.remove(&end);
            }
            Cell::Approval(entry) => {
                self.closed.remove(&end);
                self.approvals
                    .remove(&(ApprovalList::from_entry(entry), entry.sequence));
            }
            Cell::Permit(entry) => {
                self.ends.remove(&end);
                self.issued.remove(&entry.sequence);
            }
            Cell::Replay(replay) => {
                self.ends.remove(&end);
                let permit = replay.permit;
                permit.map(|permit| self.replays.remove(&permit));
            }
            // The cell never expires.
            _ => {}
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.spent.len()
    }
}

/// Returns whether cells of this kind count against the limit.
fn is_limited(key: CellKey) -> bool {
    matches!(key, CellKey::Permit(_) | CellKey::Replay(_))
}
