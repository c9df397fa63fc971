//! The organizations that left the memory before the heads of their chains were saved.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::OrgId;

/// The organizations whose heads are still to be saved.
#[derive(Debug, Default)]
pub(super) struct UnsavedHeads(Mutex<BTreeSet<OrgId>>);

impl UnsavedHeads {
    /// Notes an organization.
    pub(super) fn note(&self, id: OrgId) {
        self.lock().insert(id);
    }

    /// Returns the organizations that are noted.
    pub(super) fn all(&self) -> Vec<OrgId> {
        self.lock().iter().cloned().collect()
    }

    /// Takes out an organization whose head is about to be saved. A use from now on notes it anew.
    pub(super) fn begin<'a>(&'a self, id: &'a OrgId) -> SavingHead<'a> {
        self.lock().remove(id);
        SavingHead {
            unsaved: self,
            id,
            is_saved: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<OrgId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A head that is being saved. Dropping it notes the organization again, unless the head was saved:
/// the save has failed, or was cancelled.
#[derive(Debug)]
pub(super) struct SavingHead<'a> {
    unsaved: &'a UnsavedHeads,
    id: &'a OrgId,
    pub(super) is_saved: bool,
}

impl Drop for SavingHead<'_> {
    fn drop(&mut self) {
        if !self.is_saved {
            self.unsaved.note(self.id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_stays_noted_until_it_was_saved() {
        let id: OrgId = "acme".parse().unwrap();
        let unsaved = UnsavedHeads::default();
        unsaved.note(id.clone());
        drop(unsaved.begin(&id));
        assert_eq!(
            unsaved.all(),
            std::slice::from_ref(&id),
            "the save was cancelled"
        );
        let mut saving = unsaved.begin(&id);
        assert!(unsaved.all().is_empty());
        saving.is_saved = true;
        drop(saving);
        assert!(unsaved.all().is_empty());
    }
}
