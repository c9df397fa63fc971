//! The slots of the reads, shared out among the organizations.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::fair_queue::{FairQueue, Ticket};
use crate::share::{SharedPlaces, may_take, places_for};
use crate::store::OrgId;

/// The slots of reads of one kind.
///
/// An organization gets at most a number of slots of its own, and there are more slots than that,
/// which are [shared out](crate::share). So another organization finds a free slot however long the
/// reads of one organization take. Reads that find none wait in a queue, in which the organizations
/// take turns; its places are shared out by the same rule.
///
/// With 4 slots for an organization there are 6. When A has 4 and B has 1, the next one goes to C,
/// or to whichever organization without a slot asks first.
pub(super) struct ReadSlots(Arc<Shared>);

struct Shared {
    /// How many reads may wait.
    places: usize,
    state: Mutex<State>,
}

struct State {
    slots: SharedPlaces,
    waiting: FairQueue<oneshot::Sender<ReadSlot>>,
}

/// A slot for one read, held until the result is sent. Dropping it frees the slot.
pub(super) struct ReadSlot {
    shared: Arc<Shared>,
    org: OrgId,
}

impl ReadSlots {
    /// Creates slots, of which one organization gets `slots`, and places in a queue, of which it
    /// gets `waiting`.
    pub(super) fn new(slots: usize, waiting: usize) -> Self {
        Self(Arc::new(Shared {
            places: places_for(waiting),
            state: Mutex::new(State {
                slots: SharedPlaces::new(places_for(slots)),
                waiting: FairQueue::new(),
            }),
        }))
    }

    /// Takes a slot, and waits for it if need be. Returns `None` if the queue has no room.
    pub(super) async fn take(&self, org: &OrgId) -> Option<ReadSlot> {
        let (_place, slot) = {
            let mut state = self.0.lock();
            // Reads of one organization get slots in the order of their arrival.
            if state.waiting.count(org) == 0 && state.slots.take(org) {
                return Some(self.0.slot(org.clone()));
            }
            let places = self.0.places.saturating_sub(state.waiting.len());
            if !may_take(state.waiting.count(org), places) {
                return None;
            }
            let (sender, slot) = oneshot::channel();
            let (shared, ticket) = (&*self.0, state.waiting.push(org, sender));
            let place = Place {
                shared,
                org,
                ticket,
            };
            (place, slot)
        };
        slot.await.ok()
    }
}

/// The place of a read in the queue. Dropping it leaves the queue.
struct Place<'a> {
    shared: &'a Shared,
    org: &'a OrgId,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // A slot that was sent is not in the queue any more. It is dropped with its channel.
        let left = self.shared.lock().waiting.remove(self.org, self.ticket);
        drop(left);
    }
}

impl Shared {
    fn slot(self: &Arc<Self>, org: OrgId) -> ReadSlot {
        let shared = Arc::clone(self);
        ReadSlot { shared, org }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a slot for the next waiting read that may have one.
    fn next(&mut self) -> Option<(OrgId, oneshot::Sender<ReadSlot>)> {
        let slots = &self.slots;
        let (org, _, sender) = self.waiting.take_next(|org| slots.may_take(org))?;
        self.slots.take(&org).then_some((org, sender))
    }
}

impl Drop for ReadSlot {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.slots.give_back(&self.org);
        // With one more free slot, organizations may take several of those that are free.
        while let Some((org, sender)) = state.next() {
            drop(state);
            // Without its receiver, the slot is dropped here, and goes to the next read.
            drop(sender.send(self.shared.slot(org)));
            state = self.shared.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    type Taking<'a> = Pin<Box<dyn Future<Output = Option<ReadSlot>> + 'a>>;

    fn poll(taking: &mut Taking<'_>) -> Poll<Option<ReadSlot>> {
        taking
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes a slot that is free at once. Returns `None` if the read would wait or is refused.
    fn now(slots: &ReadSlots, org: &OrgId) -> Option<ReadSlot> {
        match poll(&mut (Box::pin(slots.take(org)) as Taking<'_>)) {
            Poll::Ready(slot) => slot,
            Poll::Pending => None,
        }
    }

    fn flood(slots: &ReadSlots, org: &OrgId) -> Vec<ReadSlot> {
        std::iter::from_fn(|| now(slots, org)).collect()
    }

    fn is_idle(slots: &ReadSlots, free: usize) -> bool {
        let state = slots.0.lock();
        state.slots.unheld() == Some(free) && state.waiting.len() == 0
    }

    #[test]
    fn an_organization_gets_the_slots_that_are_meant_for_it_and_others_find_one() {
        let [a, b, c] = ["a", "b", "c"].map(org);
        for (most, others) in [(1, 1), (2, 1), (4, 2), (8, 3)] {
            let slots = ReadSlots::new(most, 0);
            let of_a = flood(&slots, &a);
            assert_eq!(of_a.len(), most);
            let of_b = flood(&slots, &b);
            assert!(!of_b.is_empty());
            assert_eq!(now(&slots, &c).is_some(), others > 1);
            drop((of_a, of_b));
            assert!(is_idle(&slots, most + others));
        }
    }

    #[tokio::test]
    async fn waiting_reads_get_slots_in_turns_of_their_organizations() {
        let [a, b, c] = ["a", "b", "c"].map(org);
        let slots = ReadSlots::new(1, 10);
        let (mut of_a, of_b) = (now(&slots, &a), now(&slots, &b));
        let mut waiting: Vec<(&OrgId, Taking<'_>)> = [&a, &a, &a, &c, &b, &a]
            .map(|org| (org, Box::pin(slots.take(org)) as Taking<'_>))
            .into();
        let mut next = move || {
            let found = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(index, (_, take))| match poll(take) {
                    Poll::Ready(slot) => Some((index, slot.unwrap())),
                    Poll::Pending => None,
                });
            found.map(|(index, slot)| (waiting.remove(index).0.as_str().to_owned(), slot))
        };
        assert!(next().is_none());
        drop(of_b);
        // A has a slot, so the one that is free is for those without one.
        let (first, of_c) = next().unwrap();
        assert_eq!(first, "c");
        drop(of_c);
        let (second, of_b) = next().unwrap();
        assert_eq!(second, "b");
        for _ in 0..4 {
            assert!(next().is_none());
            drop(of_a.take());
            let (last, slot) = next().unwrap();
            assert_eq!(last, "a");
            of_a = Some(slot);
        }
        drop((of_a, of_b));
        assert!(is_idle(&slots, 2));
    }

    #[test]
    fn the_queue_has_room_for_other_organizations() {
        let [a, b] = ["a", "b"].map(org);
        let slots = ReadSlots::new(1, 3);
        let held = [now(&slots, &a).unwrap(), now(&slots, &b).unwrap()];
        let wait = |org| {
            let mut taking: Taking<'_> = Box::pin(slots.take(org));
            poll(&mut taking).is_pending().then_some(taking)
        };
        let of_a: Vec<_> = std::iter::from_fn(|| wait(&a)).collect();
        assert_eq!(of_a.len(), 3);
        assert!(wait(&a).is_none());
        let of_b = wait(&b).unwrap();
        // A read that is given up leaves the queue.
        drop(of_a);
        assert!(wait(&a).is_some());
        drop((of_b, held));
        assert!(is_idle(&slots, 2));
    }

    proptest! {
        /// Reads take slots, end and are given up in any order. An organization without a read
        /// finds a slot if one is free, reads that could have a slot never wait, and all slots are
        /// free in the end.
        #[test]
        fn no_slot_is_lost_and_no_read_waits_for_a_free_one(
            most in 1_usize..6,
            steps in proptest::collection::vec((0_usize..4, 0_u8..4), 0..200),
        ) {
            let slots = ReadSlots::new(most, 20);
            let free = slots.0.lock().slots.free();
            let orgs: Vec<_> = (0..4).map(|n| org(&format!("org{n}"))).collect();
            let mut waiting: Vec<Taking<'_>> = Vec::new();
            let mut held = Vec::new();
            for (n, step) in steps {
                match step {
                    0 if !held.is_empty() => drop(held.swap_remove(n % held.len())),
                    1 if !waiting.is_empty() => drop(waiting.swap_remove(n % waiting.len())),
                    _ => waiting.push(Box::pin(slots.take(&orgs[n]))),
                }
                let mut still = Vec::new();
                for mut taking in waiting {
                    match poll(&mut taking) {
                        Poll::Ready(slot) => held.extend(slot),
                        Poll::Pending => still.push(taking),
                    }
                }
                waiting = still;
                let state = slots.0.lock();
                for org in &orgs {
                    prop_assert!(state.slots.held_by(org) <= most);
                    prop_assert!(state.waiting.count(org) == 0 || !state.slots.may_take(org));
                }
                prop_assert_eq!(state.slots.free() + held.len(), free);
            }
            drop(waiting);
            drop(held);
            prop_assert!(is_idle(&slots, free));
        }
    }
}
