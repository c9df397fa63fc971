//! The rule by which a few places are shared out, so that no holder keeps another one out.
//!
//! A holder may take another place while it holds less than three times as many places as are free.
//! The last free place goes to a holder that has none. So one busy holder gets three quarters of
//! the places, two busy holders get three sevenths each, and another one finds a free place however
//! long they keep theirs.
//!
//! With 8 places, a busy holder A takes 6. Then B, with 2 places free, takes one.

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
