//! The rule by which a few places are shared out, so that no holder keeps another one out.
//!
//! A holder may take another place while it holds less than three times as many places as are free.
//! The last free place goes to a holder that has none. So one busy holder gets three quarters of
//! the places, two busy holders get three sevenths each, and another one finds a free place however
//! long they keep theirs.
//!
//! With 8 places, a busy holder A takes 6. Then B, with 2 places free, takes one.

use std::collections::HashMap;

use crate::store::OrgId;

/// How many places a holder may have for each free place.
const SHARE: usize = 3;

/// Returns whether a holder of `own` places may take one of the `free` places.
pub(super) const fn may_take(own: usize, free: usize) -> bool {
    match own {
        0 => free > 0,
        _ => own < SHARE.saturating_mul(free.saturating_sub(1)),
    }
}

/// Returns how many of the `free` places a holder of `own` places may still take.
#[cfg(feature = "server")]
pub(super) const fn room(own: usize, free: usize) -> usize {
    // It may take the n-th one while `own + n - 1 < 3 * (free - n)`.
    let room = SHARE.saturating_mul(free).saturating_sub(own) / (SHARE + 1);
    match own {
        0 if free > 0 && room == 0 => 1,
        _ => room,
    }
}

/// Returns the smallest number of places of which a single busy holder gets `most`.
pub(super) const fn places_for(most: usize) -> usize {
    match most {
        0 => 0,
        _ => most + 1 + (most - 1) / SHARE,
    }
}

/// Places that are shared out among organizations.
#[derive(Debug)]
pub(super) struct SharedPlaces {
    free: usize,
    /// How many places each organization holds. Has no entry for one without a place.
    held: HashMap<OrgId, usize>,
}

impl SharedPlaces {
    pub(super) fn new(places: usize) -> Self {
        Self {
            free: places,
            held: HashMap::new(),
        }
    }

    /// Returns whether an organization may take another place.
    pub(super) fn may_take(&self, org: &OrgId) -> bool {
        may_take(self.held_by(org), self.free)
    }

    /// Takes a place for an organization, if it may have another one.
    pub(super) fn take(&mut self, org: &OrgId) -> bool {
        let takes = self.may_take(org);
        if takes {
            self.free -= 1;
            *self.held.entry(org.clone()).or_default() += 1;
        }
        takes
    }

    /// Gives back a place that an organization took.
    pub(super) fn give_back(&mut self, org: &OrgId) {
        self.free += 1;
        if let Some(own) = self.held.get_mut(org) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.held.remove(org);
            }
        }
    }

    /// Returns how many places an organization holds.
    pub(super) fn held_by(&self, org: &OrgId) -> usize {
        self.held.get(org).copied().unwrap_or(0)
    }

    /// Returns how many places are free if no organization holds one.
    #[cfg(test)]
    pub(super) fn unheld(&self) -> Option<usize> {
        self.held.is_empty().then_some(self.free)
    }

    #[cfg(all(test, feature = "server"))]
    pub(super) fn free(&self) -> usize {
        self.free
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_holder_is_what_it_can_take_one_by_one() {
        for free in 0..200 {
            for own in 0..200 {
                let mut taken = 0;
                while may_take(own + taken, free - taken) {
                    taken += 1;
                }
                assert_eq!(room(own, free), taken, "{own} {free}");
            }
        }
    }

    #[test]
    fn a_holder_without_a_place_gets_the_last_one() {
        for places in 2..200 {
            let taken = room(0, places);
            assert!(taken < places);
            assert!(may_take(0, places - taken) && !may_take(taken, places - taken));
        }
    }

    #[test]
    fn a_single_busy_holder_gets_the_places_that_are_meant_for_it() {
        for most in 0..500 {
            assert_eq!(room(0, places_for(most)), most);
            if most > 1 {
                assert!(room(0, places_for(most) - 1) < most);
            }
        }
    }
}
