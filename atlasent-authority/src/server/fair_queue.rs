//! A queue in which the organizations take turns, and the entries of each stay in their order.
//!
//! ```text
//! pushed:  A1 A2 A3 B1 A4 C1 B2
//! taken:   A1 B1 C1 A2 B2 A3 A4
//! ```

use std::collections::{HashMap, VecDeque};

use crate::store::OrgId;

/// A queue in which the organizations take turns.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// Holds no empty queue.
    queues: HashMap<OrgId, VecDeque<(Ticket, T)>>,
    /// The organizations that have entries, in the order of their turns.
    ring: VecDeque<OrgId>,
    len: usize,
    next: u64,
}

/// Identifies an entry of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

impl<T> FairQueue<T> {
    /// Creates an empty queue.
    pub(super) fn new() -> Self {
        Self {
            queues: HashMap::new(),
            ring: VecDeque::new(),
            len: 0,
            next: 0,
        }
    }

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many entries an organization has.
    pub(super) fn count(&self, org: &OrgId) -> usize {
        self.queues.get(org).map_or(0, VecDeque::len)
    }

    /// Appends an entry to those of its organization.
    pub(super) fn push(&mut self, org: &OrgId, entry: T) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.len += 1;
        match self.queues.get_mut(org) {
            Some(queue) => queue.push_back((ticket, entry)),
            None => {
                self.queues
                    .insert(org.clone(), VecDeque::from([(ticket, entry)]));
                self.ring.push_back(org.clone());
            }
        }
        ticket
    }

    /// Takes the first entry of the organization whose turn it is, among those that `may` have it.
    pub(super) fn take_next(&mut self, may: impl Fn(&OrgId) -> bool) -> Option<(OrgId, Ticket, T)> {
        let turn = self.ring.iter().position(may)?;
        let org = self.ring.remove(turn)?;
        let queue = self.queues.get_mut(&org)?;
        let (ticket, entry) = queue.pop_front()?;
        self.len -= 1;
        match queue.is_empty() {
            true => drop(self.queues.remove(&org)),
            false => self.ring.push_back(org.clone()),
        }
        Some((org, ticket, entry))
    }

    /// Returns an entry that was not taken.
    pub(super) fn get_mut(&mut self, org: &OrgId, ticket: Ticket) -> Option<&mut T> {
        let queue = self.queues.get_mut(org)?;
        let place = queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        queue.get_mut(place.ok()?).map(|(_, entry)| entry)
    }

    /// Removes an entry. Returns `None` if it was taken.
    pub(super) fn remove(&mut self, org: &OrgId, ticket: Ticket) -> Option<T> {
        let queue = self.queues.get_mut(org)?;
        let place = queue.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        let (_, entry) = queue.remove(place.ok()?)?;
        self.len -= 1;
        if queue.is_empty() {
            self.queues.remove(org);
            self.ring.retain(|waiting| waiting != org);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    fn all(queue: &mut FairQueue<&'static str>) -> String {
        let next = || queue.take_next(|_| true).map(|(_, _, entry)| entry);
        std::iter::from_fn(next).collect::<Vec<_>>().join(" ")
    }

    fn filled() -> (FairQueue<&'static str>, Vec<Ticket>) {
        let mut queue = FairQueue::new();
        let entries = ["a1", "a2", "a3", "b1", "a4", "c1", "b2"];
        let tickets =
            entries.map(|entry| queue.push(&org(entry.trim_end_matches(char::is_numeric)), entry));
        (queue, tickets.into())
    }

    #[test]
    fn organizations_take_turns_and_their_entries_stay_in_order() {
        assert_eq!(all(&mut filled().0), "a1 b1 c1 a2 b2 a3 a4");
    }

    #[test]
    fn an_organization_that_may_not_have_its_turn_keeps_it() {
        let (mut queue, _) = filled();
        let others = queue.take_next(|next| *next != org("a")).unwrap();
        assert_eq!((&others.0, others.2), (&org("b"), "b1"));
        assert!(queue.take_next(|_| false).is_none());
        assert_eq!(all(&mut queue), "a1 c1 b2 a2 a3 a4");
    }

    #[test]
    fn an_entry_that_is_removed_leaves_the_others_in_their_order() {
        let (mut queue, tickets) = filled();
        assert_eq!(queue.remove(&org("a"), tickets[1]), Some("a2"));
        assert_eq!(queue.remove(&org("a"), tickets[1]), None);
        assert_eq!(queue.remove(&org("c"), tickets[5]), Some("c1"));
        *queue.get_mut(&org("a"), tickets[2]).unwrap() = "a3'";
        assert_eq!(queue.get_mut(&org("b"), tickets[2]), None);
        assert_eq!((queue.len(), queue.count(&org("a"))), (5, 3));
        assert_eq!(all(&mut queue), "a1 b1 a3' b2 a4");
    }

    proptest! {
        /// No organization waits for more than one entry of each other one.
        #[test]
        fn an_entry_waits_for_one_entry_of_each_other_organization(
            before in proptest::collection::vec(0_u8..8, 0..100)
        ) {
            let mut queue = FairQueue::new();
            for number in &before {
                queue.push(&org(&format!("org{number}")), ());
            }
            let mine = org("mine");
            queue.push(&mine, ());
            let mut others = Vec::new();
            while let Some((next, _, ())) = queue.take_next(|_| true) {
                if next == mine {
                    break;
                }
                prop_assert!(!others.contains(&next), "{next} had two turns");
                others.push(next);
            }
            let left = queue.len() + others.len();
            prop_assert_eq!(left, before.len());
        }
    }
}
