//! The places in a queue of reads, shared out among the organizations: many reads of one do not
//! fill the queue for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::share::{may_take, places_for};
use crate::store::{OrgId, StoreError};

/// How many reads of one organization are queued or served at a time.
const OF_ONE: usize = 256;

/// How many reads of all organizations together are queued or served at a time.
pub(super) const READS: usize = places_for(OF_ONE);

/// The places of one queue.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadPlaces(Arc<Mutex<HeldPlaces>>);

#[derive(Debug, Default)]
struct HeldPlaces {
    all: usize,
    /// Holds no entry for an organization without a place.
    by_org: HashMap<OrgId, usize>,
}

/// The place of a read, until it has its answer. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct ReadPlace {
    places: ReadPlaces,
    org: OrgId,
}

impl ReadPlaces {
    /// Takes a place for a read of an organization.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when too many reads wait: of the organization, or of all.
    pub(super) fn take(&self, org: &OrgId) -> Result<ReadPlace, StoreError> {
        let mut held = self.lock();
        let own = held.by_org.get(org).copied().unwrap_or(0);
        if !may_take(own, READS.saturating_sub(held.all)) {
            return Err(StoreError::Busy);
        }
        held.all += 1;
        held.by_org.insert(org.clone(), own + 1);
        Ok(ReadPlace {
            places: self.clone(),
            org: org.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HeldPlaces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadPlace {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        held.all = held.all.saturating_sub(1);
        if let Some(own) = held.by_org.get_mut(&self.org) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.by_org.remove(&self.org);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_one_organization_leave_places_to_others() {
        let places = ReadPlaces::default();
        let org = |id: &str| id.parse::<OrgId>().unwrap();
        let take = |id: &str| places.take(&org(id));
        let flood: Vec<_> = std::iter::from_fn(|| take("flood").ok()).collect();
        assert_eq!(flood.len(), OF_ONE);
        let few: Vec<_> = (0..50).map(|_| take("calm").unwrap()).collect();
        let more: Vec<_> = (0..10)
            .map(|n| take(&format!("org-{n}")).unwrap())
            .collect();
        assert!(matches!(take("flood"), Err(StoreError::Busy)));
        drop((flood, few, more));
        assert!(places.lock().by_org.is_empty());
        assert_eq!(places.lock().all, 0);
    }
}
