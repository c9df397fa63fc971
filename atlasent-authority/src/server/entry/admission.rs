//! Admission: the concurrency slots of a server, shared out among the API keys.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::keys::{ApiKey, KeyDigest};
use crate::server::api_error::ApiError;

/// How many slots a key may hold for each free slot.
const SHARE: usize = 3;

/// The concurrency slots of a server: each request holds one while it is answered.
///
/// A key may take another slot while it holds less than three times as many slots as are free. The
/// last free slot goes to a key that holds no slot. So one busy key gets three quarters of the
/// slots, two busy keys get three sevenths each, and another key finds a free slot however slow
/// their requests are. The only key of a server gets all slots.
///
/// With 8 slots, a flood by the key `a` takes 6. Then the key `b`, with 2 slots free, takes one.
#[derive(Debug)]
pub(crate) struct ConcurrencySlots {
    total: usize,
    held: Mutex<HeldSlots>,
}

#[derive(Debug, Default)]
struct HeldSlots {
    all: usize,
    /// Holds no entry for a key without a slot. A digest names one key of one organization, unlike
    /// an id.
    by_key: HashMap<KeyDigest, usize>,
}

/// A held slot. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct ConcurrencySlot<'a> {
    slots: &'a ConcurrencySlots,
    key: KeyDigest,
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
        is_only_key: bool,
    ) -> Result<ConcurrencySlot<'_>, ApiError> {
        let mut held = self.lock();
        let free = self.total.saturating_sub(held.all);
        if free == 0 {
            return Err(ApiError::unavailable(
                "OVERLOADED",
                "the server has too many requests at a time: try again",
            ));
        }
        let own = held.by_key.get(&key.digest).copied().unwrap_or(0);
        if own > 0 && !is_only_key && own >= SHARE.saturating_mul(free - 1) {
            return Err(ApiError::unavailable(
                "OVERLOADED",
                "this API key has too many requests at a time: wait for an answer, then try again",
            ));
        }
        held.all += 1;
        held.by_key.insert(key.digest, own + 1);
        Ok(ConcurrencySlot {
            slots: self,
            key: key.digest,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HeldSlots> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConcurrencySlot<'_> {
    fn drop(&mut self) {
        let mut held = self.slots.lock();
        held.all = held.all.saturating_sub(1);
        if let Some(own) = held.by_key.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    fn key(n: usize) -> ApiKey {
        ApiKey::parse_allow_weak(&SecretString::from(format!("ask_test_{n}"))).unwrap()
    }

    /// Takes all slots that a key can get.
    fn flood<'a>(slots: &'a ConcurrencySlots, key: &ApiKey) -> Vec<ConcurrencySlot<'a>> {
        std::iter::from_fn(|| slots.take(key, false).ok()).collect()
    }

    #[test]
    fn a_flood_leaves_places_to_other_keys() {
        let slots = ConcurrencySlots::new(1_024);
        let first = flood(&slots, &key(1));
        assert!((760..=768).contains(&first.len()), "{}", first.len());
        let second = flood(&slots, &key(2));
        assert!((180..=192).contains(&second.len()), "{}", second.len());
        drop(first);
        // Freed slots are shared out anew.
        assert!(flood(&slots, &key(3)).len() > 500);
    }

    #[test]
    fn a_key_that_is_the_only_one_has_all_places() {
        let slots = ConcurrencySlots::new(3);
        let key = key(1);
        let held: Vec<_> = (0..3).map(|_| slots.take(&key, true).unwrap()).collect();
        assert_eq!(slots.take(&key, true).unwrap_err().code, "OVERLOADED");
        drop(held);
        assert!(slots.lock().by_key.is_empty());
    }

    #[test]
    fn keys_of_two_organizations_with_one_id_have_slots_of_their_own() {
        let slots = ConcurrencySlots::new(8);
        let [one, mut other] = [key(1), key(2)];
        other.key_id.clone_from(&one.key_id);
        other.org_id = "acme".parse().unwrap();
        let held = flood(&slots, &one);
        assert_eq!(held.len(), 6);
        assert!(slots.take(&other, false).is_ok());
        let held = slots.take(&other, false).unwrap();
        drop(held);
        assert_eq!(slots.lock().by_key.len(), 1);
    }

    proptest! {
        #[test]
        fn no_key_keeps_another_one_out(total in 2_usize..100) {
            let slots = ConcurrencySlots::new(total);
            let first = flood(&slots, &key(1));
            prop_assert!(!first.is_empty());
            prop_assert!(slots.take(&key(2), false).is_ok());
            drop(first);
            prop_assert_eq!(slots.lock().all, 0);
        }
    }
}
