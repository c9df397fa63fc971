//! The places in a queue of reads, shared out among the organizations: many reads of one do not
//! fill the queue for another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::share::{SharedPlaces, places_for};
use crate::store::{OrgId, StoreError};

/// How many reads of one organization are queued or served at a time.
const OF_ONE: usize = 256;

/// How many reads of all organizations together are queued or served at a time.
pub(super) const READS: usize = places_for(OF_ONE);

/// The places of one queue.
#[derive(Clone, Debug)]
pub(super) struct ReadPlaces(Arc<Mutex<SharedPlaces>>);

/// The place of a read, until it has its answer. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct ReadPlace {
    places: ReadPlaces,
    org: OrgId,
}

impl Default for ReadPlaces {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SharedPlaces::new(READS))))
    }
}

impl ReadPlaces {
    /// Takes a place for a read of an organization.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when too many reads wait: of the organization, or of all.
    pub(super) fn take(&self, org: &OrgId) -> Result<ReadPlace, StoreError> {
        match self.lock().take(org) {
            true => Ok(ReadPlace {
                places: self.clone(),
                org: org.clone(),
            }),
            false => Err(StoreError::Busy),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SharedPlaces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadPlace {
    fn drop(&mut self) {
        self.places.lock().give_back(&self.org);
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
        assert_eq!(places.lock().unheld(), Some(READS));
    }
}
