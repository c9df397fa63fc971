//! Limits how much of something an endpoint holds at a time, for all agents and for each agent: its
//! sessions, and the bytes of messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atlasent::Agent;

use crate::guard::limits::SlotLimits;

/// Counts what is taken of a limited amount, such as the open sessions.
#[derive(Debug)]
pub(super) struct Slots {
    limits: SlotLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_agent: HashMap<Agent, usize>,
}

/// An amount that is taken until the slot is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    agent: Agent,
    amount: usize,
}

/// Why nothing more can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSlot {
    #[error("the limit of all agents is reached")]
    All,
    #[error("the limit of this agent is reached")]
    OfAgent,
}

impl Slots {
    pub(super) fn new(limits: SlotLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    /// Takes an amount for an agent.
    pub(super) fn take(self: &Arc<Self>, agent: &Agent, amount: usize) -> Result<Slot, NoSlot> {
        let mut taken = self.taken();
        if amount > self.limits.all.saturating_sub(taken.all) {
            return Err(NoSlot::All);
        }
        let of_agent = taken.by_agent.get(agent).copied().unwrap_or_default();
        if amount > self.limits.of_agent.saturating_sub(of_agent) {
            return Err(NoSlot::OfAgent);
        }
        taken.by_agent.insert(agent.clone(), of_agent + amount);
        taken.all += amount;
        Ok(Slot {
            slots: Arc::clone(self),
            agent: agent.clone(),
            amount,
        })
    }

    fn give_back(&self, agent: &Agent, amount: usize) {
        let mut taken = self.taken();
        taken.all -= amount;
        if let Some(of_agent) = taken.by_agent.get_mut(agent) {
            *of_agent -= amount;
            if *of_agent == 0 {
                taken.by_agent.remove(agent);
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Reduces the slot to an amount, and gives back the rest.
    pub(super) fn shrink(&mut self, amount: usize) {
        let unused = self.amount.saturating_sub(amount);
        self.amount -= unused;
        self.slots.give_back(&self.agent, unused);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(&self.agent, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_cannot_take_all_slots_and_returned_ones_are_free() {
        let slots = Slots::new(SlotLimits {
            all: 3,
            of_agent: 2,
        });
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| Agent::new(name).unwrap());
        let first = slots.take(&ann, 1).unwrap();
        let second = slots.take(&ann, 1).unwrap();
        assert_eq!(slots.take(&ann, 1).unwrap_err(), NoSlot::OfAgent);
        let third = slots.take(&bob, 1).unwrap();
        assert_eq!(slots.take(&eve, 1).unwrap_err(), NoSlot::All);
        drop(first);
        let fourth = slots.take(&eve, 1).unwrap();
        drop((second, third, fourth));
        let taken = slots.taken();
        assert!(taken.all == 0 && taken.by_agent.is_empty());
    }

    #[test]
    fn an_amount_is_taken_as_a_whole_and_its_unused_part_is_given_back() {
        let slots = Slots::new(SlotLimits {
            all: 100,
            of_agent: 60,
        });
        let [ann, bob] = ["ann", "bob"].map(|name| Agent::new(name).unwrap());
        let mut first = slots.take(&ann, 60).unwrap();
        assert_eq!(slots.take(&ann, 1).unwrap_err(), NoSlot::OfAgent);
        assert_eq!(slots.take(&bob, 41).unwrap_err(), NoSlot::All);
        assert_eq!(slots.take(&bob, usize::MAX).unwrap_err(), NoSlot::All);
        first.shrink(10);
        first.shrink(20);
        let second = slots.take(&ann, 50).unwrap();
        assert_eq!(slots.taken().all, 60);
        drop((first, second));
        let taken = slots.taken();
        assert!(taken.all == 0 && taken.by_agent.is_empty());
    }
}
