//! The cells in memory, bounded: which of them go when room is needed, and which never.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::ledger::replay::ReplayKey;
use crate::store::{Batch, Cell, CellKey, StoreError};

/// How many counts of agents are looked at for each change: more than a change adds.
const SWEPT: usize = 4;

/// The permits, and everything else that stores keep beside the events.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    cells: HashMap<CellKey, Cell>,
    /// Permits, and answers to requests with an id, in the order of their ends. The limit is on
    /// these.
    ends: BTreeSet<(Timestamp, CellKey)>,
    /// The counts of agents in the order of their ends. Each has a permit that is still known, or
    /// was until lately.
    agents: BTreeSet<(Timestamp, CellKey)>,
    /// Cells that open nothing any more, and may go when room is needed.
    spent: VecDeque<CellKey>,
    /// The permits by the sequence numbers of the events that issued them.
    issued: BTreeMap<u64, PermitKey>,
    /// The answers that depend on a permit.
    replays: HashMap<PermitKey, ReplayKey>,
}

impl Ledger {
    pub(super) fn get(&self, key: CellKey) -> Option<&Cell> {
        self.cells.get(&key)
    }

    /// How many cells count against the limit.
    fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many cells are kept in all.
    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// The permits that were issued before an event, the newest first.
    pub(super) fn permits(&self, before: u64) -> impl Iterator<Item = (PermitKey, &PermitEntry)> {
        let older = self.issued.range(..before).rev();
        older.filter_map(|(_, key)| Some((*key, self.permit(*key)?)))
    }

    pub(super) fn key_of(&self, id: PermitId) -> Option<PermitKey> {
        self.issued.values().find(|key| key.id() == id).copied()
    }

    fn permit(&self, key: PermitKey) -> Option<&PermitEntry> {
        self.cells.get(&CellKey::Permit(key))?.permit()
    }

    /// Forgets what may be forgotten until the new cells of a batch have room.
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

    /// Forgets a cell whose time is over, else the oldest one that is spent.
    fn forget_one(&mut self, now: Timestamp) -> bool {
        let first = self.ends.first().filter(|(end, _)| *end <= now);
        if let Some((_, key)) = first.copied() {
            return self.forget(key);
        }
        // A cell may have gone by the other way, or hold something new by now.
        while let Some(key) = self.spent.pop_front() {
            if self.is_spent(key) {
                return self.forget(key);
            }
        }
        false
    }

    /// Whether forgetting a cell early opens nothing: a permit that is used up is as good as an
    /// unknown one, and so is the answer that depends on it.
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

    /// Keeps what a batch leaves.
    pub(super) fn keep(&mut self, batch: &Batch, limit: usize) {
        for (key, cell) in batch.cells() {
            self.keep_one(key, cell.clone());
        }
        for _ in 0..SWEPT {
            let first = self.agents.first().copied();
            match first.filter(|(end, _)| *end <= batch.head().time) {
                Some((_, key)) => self.forget(key),
                None => break,
            };
        }
        // Cells that went by their time still stand among those that are spent.
        if self.spent.len() > limit.saturating_mul(2).saturating_add(1_000) {
            let spent = std::mem::take(&mut self.spent);
            let left = spent.into_iter().filter(|key| self.is_spent(*key));
            self.spent = left.collect();
        }
    }

    fn keep_one(&mut self, key: CellKey, cell: Cell) {
        if let Some(former) = self.cells.remove(&key) {
            self.unlink(key, &former);
        }
        match (key, &cell) {
            (CellKey::Agent(_), Cell::Agent(outstanding)) if outstanding.is_empty() => return,
            (CellKey::Agent(_), _) => drop(self.agents.insert((cell.expires_at(), key))),
            (key, _) if is_limited(key) => drop(self.ends.insert((cell.expires_at(), key))),
            // It never ends.
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
            _ => {}
        }
        self.cells.insert(key, cell);
        if self.is_spent(key) {
            self.spent.push_back(key);
            if let CellKey::Permit(permit) = key {
                let replay = self.replays.get(&permit).copied();
                self.spent.extend(replay.map(CellKey::Replay));
            }
        }
    }

    /// Takes a cell out of what leads to it.
    fn unlink(&mut self, key: CellKey, cell: &Cell) {
        let end = (cell.expires_at(), key);
        match cell {
            Cell::Agent(_) => drop(self.agents.remove(&end)),
            Cell::Permit(entry) => {
                self.ends.remove(&end);
                self.issued.remove(&entry.sequence);
            }
            Cell::Replay(replay) => {
                self.ends.remove(&end);
                let permit = replay.permit;
                permit.map(|permit| self.replays.remove(&permit));
            }
            // It never ends.
            _ => {}
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.spent.len()
    }
}

/// Whether the limit is on cells of this kind.
fn is_limited(key: CellKey) -> bool {
    matches!(key, CellKey::Permit(_) | CellKey::Replay(_))
}
