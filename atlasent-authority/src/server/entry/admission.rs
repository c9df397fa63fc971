//! Admission: the places of the requests that are answered at a time, shared out among the API
//! keys.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::keys::ApiKey;
use crate::server::api_error::Problem;

/// How many places a key may hold for each that is free.
const SHARE: usize = 3;

/// The places of the requests that are answered at a time.
///
/// A key may take another place while it holds less than three times as many as are free, and the
/// last free place goes to a key that holds no place. Alone, a key so gets three quarters of all
/// places; of two that take what they can, each gets three sevenths. However many places some keys
/// hold, and however slow their requests are, another key finds one. A key that is the only one
/// gets all places.
///
/// With 8 places, a flood by the key `a` takes 6; then `b`, with 2 free, takes one.
#[derive(Debug)]
pub(crate) struct Places {
    total: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Keys that hold no place are not in here.
    by_key: HashMap<String, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    places: &'a Places,
    key_id: String,
}

impl Places {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            held: Mutex::default(),
        }
    }

    /// Takes a place for a request of a key. A request without a place is refused at once: a queue
    /// would only make answers that clients no longer wait for.
    pub(crate) fn take(&self, key: &ApiKey, is_only_key: bool) -> Result<Place<'_>, Problem> {
        let mut held = self.lock();
        let free = self.total.saturating_sub(held.all);
        if free == 0 {
            return Err(Problem::unavailable(
                "OVERLOADED",
                "too many requests at a time: try again",
            ));
        }
        let own = held.by_key.get(&key.key_id).copied().unwrap_or(0);
        if own > 0 && !is_only_key && own >= SHARE.saturating_mul(free - 1) {
            return Err(Problem::unavailable(
                "OVERLOADED",
                "this API key has too many requests at a time: wait for their answers, and try again",
            ));
        }
        held.all += 1;
        held.by_key.insert(key.key_id.clone(), own + 1);
        Ok(Place {
            places: self,
            key_id: key.key_id.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        held.all = held.all.saturating_sub(1);
        if let Some(own) = held.by_key.get_mut(&self.key_id) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.by_key.remove(&self.key_id);
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

    /// Takes all places that a key can have.
    fn flood<'a>(places: &'a Places, key: &ApiKey) -> Vec<Place<'a>> {
        std::iter::from_fn(|| places.take(key, false).ok()).collect()
    }

    #[test]
    fn a_flood_leaves_places_to_other_keys() {
        let places = Places::new(1_024);
        let first = flood(&places, &key(1));
        assert!((760..=768).contains(&first.len()), "{}", first.len());
        let second = flood(&places, &key(2));
        assert!((180..=192).contains(&second.len()), "{}", second.len());
        drop(first);
        // What is given back is shared out anew.
        assert!(flood(&places, &key(3)).len() > 500);
    }

    #[test]
    fn a_key_that_is_the_only_one_has_all_places() {
        let places = Places::new(3);
        let key = key(1);
        let held: Vec<_> = (0..3).map(|_| places.take(&key, true).unwrap()).collect();
        assert_eq!(places.take(&key, true).unwrap_err().code, "OVERLOADED");
        drop(held);
        assert!(places.lock().by_key.is_empty());
    }

    proptest! {
        #[test]
        fn no_key_keeps_another_one_out(total in 2_usize..100) {
            let places = Places::new(total);
            let first = flood(&places, &key(1));
            prop_assert!(!first.is_empty());
            prop_assert!(places.take(&key(2), false).is_ok());
            drop(first);
            prop_assert_eq!(places.lock().all, 0);
        }
    }
}
