//! Counting calls minute by minute: the [`RateCounter`] trait, and the counter of stores that one
//! process owns.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use super::StoreError;

/// Counts calls per minute, for the rate limits of API keys.
///
/// The server counts each call under the id of its key. A counter that several servers share
/// enforces one rate for all of them.
///
/// ```
/// use atlasent_authority::store::RateCounter;
/// use atlasent_authority::MemoryStore;
///
/// # futures_executor::block_on(async {
/// let counter = MemoryStore::new();
/// assert_eq!(counter.count_call("key_1", 29_000_000).await?, 1);
/// assert_eq!(counter.count_call("key_1", 29_000_000).await?, 2);
/// assert_eq!(counter.count_call("key_2", 29_000_000).await?, 1);
/// # Ok::<(), atlasent_authority::store::StoreError>(()) }).unwrap();
/// ```
pub trait RateCounter: Send + Sync + 'static {
    /// Counts one more call under `counter` in a minute, and returns the number of calls so far.
    /// `minute` is the number of minutes since 1970.
    ///
    /// Counts of past minutes may be forgotten, and need not survive a crash. When a clock is set
    /// back, counting continues in the newest minute, so that no caller gets calls back.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the call was not counted.
    fn count_call(
        &self,
        counter: &str,
        minute: i64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// The calls of the newest minute.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    counts: HashMap<String, u64>,
}

impl Calls {
    /// Counts one more call, and returns the number of calls so far.
    pub(super) fn count(&self, counter: &str, minute: i64) -> u64 {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back must not give calls back, so counting continues in the newest
        // minute.
        if minute > newest.number {
            newest.number = minute;
            newest.counts.clear();
        }
        let count = match newest.counts.get_mut(counter) {
            Some(count) => count,
            None => newest.counts.entry(counter.to_owned()).or_default(),
        };
        *count += 1;
        *count
    }
}
