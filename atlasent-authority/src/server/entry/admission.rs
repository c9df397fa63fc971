//! Admission: the concurrency slots of a server, shared out among the organizations, and among the
//! API keys of each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::keys::ApiKey;
use crate::recent_orgs::{MANY, RecentOrgs};
use crate::server::api_error::ApiError;
use crate::share::{may_take, room};
use crate::store::OrgId;

/// The time in which requests are counted.
const WINDOW: Duration = Duration::from_millis(10);

/// The concurrency slots of a server: each request holds one while it is answered.
///
/// The slots are [shared out](crate::share) among the organizations, and what an
/// organization may still take among its keys. So an organization with many keys gets no more slots
/// than one with a single key. The only organization of a server may take all slots, and so may the
/// only key of an organization take all that this one gets.
///
/// With 1,024 slots, a flood by all keys of one organization takes 768. A flood by one of its two
/// keys takes 576, so that the other one still gets some of the 768.
#[derive(Debug)]
pub(crate) struct ConcurrencySlots {
    total: usize,
    held: Mutex<HeldSlots>,
}

#[derive(Debug, Default)]
struct HeldSlots {
    all: usize,
    /// Holds no entry for an organization without a slot.
    by_org: HashMap<OrgId, OrgSlots>,
    requests: RecentRequests,
    orgs: RecentOrgs,
}

/// The slots that the requests of one organization hold.
#[derive(Debug, Default)]
struct OrgSlots {
    all: usize,
    /// Holds no entry for a key without a slot.
    by_key: HashMap<String, usize>,
}

/// Whether an API key shares the slots with others, whether they send requests or not. People who
/// log in without an API key are among these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// Whether no other organization has a key or a person.
    pub(crate) is_only_org: bool,
    /// Whether the organization has no other key and no person.
    pub(crate) is_only_key: bool,
}

/// A held slot. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct ConcurrencySlot<'a> {
    slots: &'a ConcurrencySlots,
    org: OrgId,
    key_id: String,
    crowds_others: bool,
}

impl ConcurrencySlots {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            held: Mutex::default(),
        }
    }

    /// Takes a slot for a request of a key. Without a free slot the request is refused at once:
    /// from a queue, answers would come after their clients have given up.
    pub(crate) fn take(
        &self,
        key: &ApiKey,
        sharing: Sharing,
    ) -> Result<ConcurrencySlot<'_>, ApiError> {
        let overloaded = |message| ApiError::unavailable("OVERLOADED", message);
        let mut held = self.lock();
        let free = self.total.saturating_sub(held.all);
        if free == 0 {
            return Err(overloaded(
                "the server has too many requests at a time: try again",
            ));
        }
        let org = held.by_org.get(&key.org_id);
        let of_org = org.map_or(0, |org| org.all);
        if !sharing.is_only_org && !may_take(of_org, free) {
            return Err(overloaded(
                "this organization has too many requests at a time: wait for an answer, then try again",
            ));
        }
        let of_key = org.and_then(|org| org.by_key.get(&key.key_id));
        let of_key = of_key.copied().unwrap_or(0);
        let free = match sharing.is_only_org {
            true => free,
            false => room(of_org, free),
        };
        if !sharing.is_only_key && !may_take(of_key, free) {
            return Err(overloaded(
                "this API key has too many requests at a time: wait for an answer, then try again",
            ));
        }
        held.all += 1;
        let org = held.by_org.entry(key.org_id.clone()).or_default();
        org.all += 1;
        org.by_key.insert(key.key_id.clone(), of_key + 1);
        let crowds_others = held.crowds_others(&key.org_id, of_org + 1, Instant::now());
        Ok(ConcurrencySlot {
            slots: self,
            org: key.org_id.clone(),
            key_id: key.key_id.clone(),
            crowds_others,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HeldSlots> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldSlots {
    /// Returns whether an organization that takes its `held`-th slot crowds others: it has many
    /// requests, and another one is active.
    ///
    /// Where requests are answered without waiting for anything, a flood holds few slots at a time,
    /// so the requests of the last moments count as well.
    fn crowds_others(&mut self, org: &OrgId, held: usize, now: Instant) -> bool {
        let recent = self.requests.count(org, now);
        self.orgs.note(org, now);
        held.max(recent) > MANY && self.orgs.has_other_than(org, now)
    }
}

/// How many requests each organization sent within this window, and within the one before.
#[derive(Debug, Default)]
struct RecentRequests {
    began: Option<Instant>,
    now: HashMap<OrgId, usize>,
    before: HashMap<OrgId, usize>,
}

impl RecentRequests {
    /// Counts a request. Returns how many there are of its organization.
    fn count(&mut self, org: &OrgId, now: Instant) -> usize {
        let age = self.began.map(|began| now.saturating_duration_since(began));
        if age.is_none_or(|age| age >= WINDOW) {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            if age.is_none_or(|age| age >= 2 * WINDOW) {
                self.before.clear();
            }
            self.began = Some(now);
        }
        let before = self.before.get(org).copied().unwrap_or(0);
        let count = match self.now.get_mut(org) {
            Some(count) => count,
            None => self.now.entry(org.clone()).or_default(),
        };
        *count += 1;
        before + *count
    }
}

impl ConcurrencySlot<'_> {
    /// Whether the organization crowded others when this slot was taken. Its requests then run in
    /// [turns](super::turns).
    pub(crate) fn crowds_others(&self) -> bool {
        self.crowds_others
    }
}

impl Drop for ConcurrencySlot<'_> {
    fn drop(&mut self) {
        let mut held = self.slots.lock();
        held.all = held.all.saturating_sub(1);
        let Some(org) = held.by_org.get_mut(&self.org) else {
            return;
        };
        org.all = org.all.saturating_sub(1);
        if let Some(own) = org.by_key.get_mut(&self.key_id) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                org.by_key.remove(&self.key_id);
            }
        }
        if org.all == 0 {
            held.by_org.remove(&self.org);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    const SHARED: Sharing = Sharing {
        is_only_org: false,
        is_only_key: false,
    };
    const ONE_ORG: Sharing = Sharing {
        is_only_org: true,
        is_only_key: false,
    };
    const ALONE: Sharing = Sharing {
        is_only_org: true,
        is_only_key: true,
    };

    /// Returns the n-th key of an organization.
    fn key_of(org: &str, n: usize) -> ApiKey {
        let secret = SecretString::from(format!("ask_test_{org}{n}"));
        let mut key = ApiKey::parse_allow_weak(&secret).unwrap();
        key.org_id = org.parse().unwrap();
        key
    }

    fn key(n: usize) -> ApiKey {
        key_of("local", n)
    }

    /// Takes all slots that a key can get.
    fn flood<'a>(
        slots: &'a ConcurrencySlots,
        key: &ApiKey,
        sharing: Sharing,
    ) -> Vec<ConcurrencySlot<'a>> {
        std::iter::from_fn(|| slots.take(key, sharing).ok()).collect()
    }

    #[test]
    fn an_organization_with_many_requests_crowds_others_held_or_answered() {
        let slots = ConcurrencySlots::new(1_024);
        let take = |org| slots.take(&key_of(org, 1), SHARED).unwrap();
        let flood: Vec<_> = (0..64).map(|_| take("flood")).collect();
        let crowds = |slot: &ConcurrencySlot<'_>| slot.crowds_others();
        assert!(!flood.iter().any(crowds), "it is alone");
        assert!(!take("other").crowds_others());
        assert!(take("flood").crowds_others());
        drop(flood);
        assert!(take("flood").crowds_others(), "it has sent many lately");
        assert!(!take("other").crowds_others(), "it has sent few");
    }

    #[test]
    fn requests_of_two_windows_count() {
        let (org, other): (OrgId, OrgId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let start = Instant::now();
        let at = |windows: u32| start + windows * WINDOW;
        let mut recent = RecentRequests::default();
        assert_eq!(
            [0, 0, 0].map(|window| recent.count(&org, at(window))),
            [1, 2, 3]
        );
        assert_eq!(recent.count(&other, at(0)), 1);
        assert_eq!([1, 1].map(|window| recent.count(&org, at(window))), [4, 5]);
        assert_eq!(recent.count(&org, at(2)), 3);
        assert_eq!(recent.count(&org, at(4)), 1, "a window was empty");
        assert_eq!(recent.now.len() + recent.before.len(), 1);
    }

    #[test]
    fn a_flood_leaves_places_to_other_keys() {
        let slots = ConcurrencySlots::new(1_024);
        let first = flood(&slots, &key(1), ONE_ORG);
        assert!((760..=768).contains(&first.len()), "{}", first.len());
        let second = flood(&slots, &key(2), ONE_ORG);
        assert!((180..=192).contains(&second.len()), "{}", second.len());
        drop(first);
        // Freed slots are shared out anew.
        assert!(flood(&slots, &key(3), ONE_ORG).len() > 500);
    }

    #[test]
    fn a_key_that_is_the_only_one_has_all_places() {
        let slots = ConcurrencySlots::new(3);
        let key = key(1);
        let held: Vec<_> = (0..3).map(|_| slots.take(&key, ALONE).unwrap()).collect();
        assert_eq!(slots.take(&key, ALONE).unwrap_err().code, "OVERLOADED");
        drop(held);
        assert!(slots.lock().by_org.is_empty());
    }

    #[test]
    fn an_organization_with_a_hundred_keys_gets_no_more_than_one_with_one() {
        let slots = ConcurrencySlots::new(1_024);
        let only_key = Sharing {
            is_only_key: true,
            ..SHARED
        };
        let one = flood(&slots, &key_of("one", 0), only_key).len();
        let keys: Vec<_> = (0..100).map(|n| key_of("many", n)).collect();
        let many: Vec<_> = keys
            .iter()
            .flat_map(|key| flood(&slots, key, SHARED))
            .collect();
        assert_eq!(one, 768);
        assert!((750..=one).contains(&many.len()), "{}", many.len());
        // The flood of one of them leaves places to the others.
        drop(many);
        let first = flood(&slots, &keys[0], SHARED);
        assert!((570..=580).contains(&first.len()), "{}", first.len());
        assert!(flood(&slots, &keys[1], SHARED).len() > 100);
    }

    proptest! {
        #[test]
        fn no_key_keeps_another_one_out(total in 2_usize..100) {
            let slots = ConcurrencySlots::new(total);
            let first = flood(&slots, &key(1), ONE_ORG);
            prop_assert!(!first.is_empty());
            prop_assert!(slots.take(&key(2), ONE_ORG).is_ok());
            drop(first);
            prop_assert_eq!(slots.lock().all, 0);
        }

        /// Keys of one organization take and free slots in any order. Then another organization
        /// finds one, and so does another key of the first while this one has room.
        #[test]
        fn no_organization_keeps_another_one_out(
            total in 2_usize..100,
            steps in proptest::collection::vec((0_usize..20, proptest::bool::weighted(0.8)), 0..300),
            is_only_key in any::<bool>(),
        ) {
            let slots = ConcurrencySlots::new(total);
            let keys: Vec<_> = (0..20).map(|n| key_of("busy", n)).collect();
            let mut held = Vec::new();
            for (n, takes) in steps {
                match takes {
                    true => held.extend(slots.take(&keys[n], SHARED).ok()),
                    false => drop((!held.is_empty()).then(|| held.swap_remove(n % held.len()))),
                }
                let sharing = Sharing { is_only_key, ..SHARED };
                prop_assert!(slots.take(&key_of("other", 0), sharing).is_ok());
            }
            drop(held);
            prop_assert!(slots.lock().by_org.is_empty());
            prop_assert_eq!(slots.lock().all, 0);
        }

        /// The rule without organizations: the keys share out all slots.
        #[test]
        fn the_keys_of_the_only_organization_share_out_all_slots(
            total in 1_usize..50,
            steps in proptest::collection::vec((0_usize..4, proptest::bool::weighted(0.7)), 0..300),
        ) {
            let slots = ConcurrencySlots::new(total);
            let keys: Vec<_> = (0..4).map(key).collect();
            let mut held: Vec<(usize, ConcurrencySlot<'_>)> = Vec::new();
            for (n, takes) in steps {
                if !takes {
                    drop((!held.is_empty()).then(|| held.swap_remove(n % held.len())));
                    continue;
                }
                let free = total - held.len();
                let own = held.iter().filter(|(key, _)| *key == n).count();
                let expected = free > 0 && (own == 0 || own < 3 * (free - 1));
                let taken = slots.take(&keys[n], ONE_ORG);
                prop_assert_eq!(taken.is_ok(), expected);
                held.extend(taken.ok().map(|slot| (n, slot)));
            }
        }
    }
}
