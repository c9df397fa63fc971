//! When decisions of organizations that are not in memory are due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::store::OrgId;

/// When the first pending decision of each organization that is not in memory expires. It has an
/// entry for an organization with an open decision, and none for the others.
#[derive(Debug, Default)]
pub(super) struct DueOrganizations(Mutex<HashMap<OrgId, Timestamp>>);

impl DueOrganizations {
    /// Notes when the first decision of an organization expires. The sooner of two times counts.
    pub(super) fn note(&self, id: OrgId, time: Timestamp) {
        let mut times = self.lock();
        let noted = times.entry(id).or_insert(time);
        *noted = (*noted).min(time);
    }

    /// Forgets an organization, which is in memory now.
    pub(super) fn forget(&self, id: &OrgId) {
        self.lock().remove(id);
    }

    /// Returns whether an organization has an entry.
    pub(super) fn contains(&self, id: &OrgId) -> bool {
        self.lock().contains_key(id)
    }

    /// Removes at most `limit` organizations that are due, those that are due for the longest time
    /// first, and returns them.
    pub(super) fn take(&self, now: Timestamp, limit: usize) -> Vec<OrgId> {
        let mut times = self.lock();
        let due = times.iter().filter(|(_, time)| **time <= now);
        let mut due: Vec<_> = due.map(|(id, time)| (*time, id.clone())).collect();
        due.sort_unstable();
        due.truncate(limit);
        due.into_iter()
            .map(|(_, id)| {
                times.remove(&id);
                id
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrgId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_due_for_the_longest_time_come_first_and_once() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let org = |name: &str| name.parse::<OrgId>().unwrap();
        let due = DueOrganizations::default();
        for (name, time) in [("a", 9), ("b", 3), ("c", 7), ("b", 5), ("d", 20)] {
            due.note(org(name), at(time));
        }
        assert_eq!(due.take(at(2), 9), [] as [OrgId; 0]);
        assert_eq!(due.take(at(10), 2), [org("b"), org("c")]);
        due.forget(&org("a"));
        assert_eq!(due.take(at(10), 2), [] as [OrgId; 0]);
        assert!(due.contains(&org("d")) && !due.contains(&org("b")));
    }
}
