//! How many sessions an endpoint serves at a time: in all, and of each agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atlasent::Agent;

use crate::guard::limits::SessionLimits;

/// The sessions that are open.
#[derive(Debug)]
pub(super) struct Slots {
    limits: SessionLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_agent: HashMap<Agent, usize>,
}

/// The place of one session, which is free again when the slot is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    agent: Agent,
}

/// Why no further session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSlot {
    #[error("too many sessions are open")]
    All,
    #[error("too many sessions of this agent are open")]
    OfAgent,
}

impl Slots {
    pub(super) fn new(limits: SessionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    /// Takes a slot for a session of an agent.
    pub(super) fn take(self: &Arc<Self>, agent: &Agent) -> Result<Slot, NoSlot> {
        let mut taken = self.taken();
        if taken.all >= self.limits.all {
            return Err(NoSlot::All);
        }
        let of_agent = taken.by_agent.get(agent).copied().unwrap_or_default();
        if of_agent >= self.limits.of_agent {
            return Err(NoSlot::OfAgent);
        }
        taken.by_agent.insert(agent.clone(), of_agent + 1);
        taken.all += 1;
        Ok(Slot {
            slots: Arc::clone(self),
            agent: agent.clone(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.all -= 1;
        if let Some(of_agent) = taken.by_agent.get_mut(&self.agent) {
            *of_agent -= 1;
            if *of_agent == 0 {
                taken.by_agent.remove(&self.agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_cannot_take_all_slots_and_returned_ones_are_free() {
        let slots = Slots::new(SessionLimits {
            all: 3,
            of_agent: 2,
        });
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| Agent::new(name).unwrap());
        let first = slots.take(&ann).unwrap();
        let second = slots.take(&ann).unwrap();
        assert_eq!(slots.take(&ann).unwrap_err(), NoSlot::OfAgent);
        let third = slots.take(&bob).unwrap();
        assert_eq!(slots.take(&eve).unwrap_err(), NoSlot::All);
        drop(first);
        let fourth = slots.take(&eve).unwrap();
        drop((second, third, fourth));
        let taken = slots.taken();
        assert!(taken.all == 0 && taken.by_agent.is_empty());
    }
}
