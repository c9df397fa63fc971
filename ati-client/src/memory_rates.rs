//! Counts calls in memory: a log of calls for each window, bounded in number and length.
//!
//! A log holds the time of each call of the last unit, so `2/minute` with calls at 0 s and 20 s
//! refuses a call at 50 s, and allows it 10 s later, when the call at 0 s has left the window. A
//! rate of more than 256 calls would need a longer log. Its calls are counted in slices of the unit
//! instead: under `1000/minute` the calls of each 234 ms share one entry, dated to the end
//! of the slice.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::crypto::{Digest, digest};
use crate::escape::excerpt;
use crate::{Error, RateSpec, RateStore, RateWindow, clock};

/// The maximum number of entries in a log. A rate of more calls is counted in this many slices of
/// its unit.
const MAX_ENTRIES: u64 = 256;

/// Microseconds since 1970.
type Micros = u64;

/// A store that counts calls in this process: see [`RateLimiter::new`](crate::RateLimiter::new).
pub struct MemoryRates {
    capacity: usize,
    logs: Mutex<CallLogs>,
}

#[derive(Default)]
struct CallLogs {
    by_window: HashMap<Digest, CallLog>,
    /// The keys of the logs, sorted by the time at which the last call leaves the window and the
    /// log is removed.
    by_expiry: BTreeSet<(Micros, Digest)>,
    /// The latest time of any call. It replaces the time of a clock that was set back, which would
    /// keep old calls in their windows for too long.
    latest: Micros,
}

impl MemoryRates {
    /// Creates a store with at most `windows` windows, one for each pair of subject and pattern.
    #[must_use]
    pub fn new(windows: usize) -> Self {
        Self {
            capacity: windows,
            logs: Mutex::default(),
        }
    }
}

impl RateStore for MemoryRates {
    async fn count_call(&self, windows: &[RateWindow<'_>], now: SystemTime) -> Result<(), Error> {
        let now = micros(clock::since_epoch(now));
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.count_call(windows, now, self.capacity)
    }
}

impl CallLogs {
    fn count_call(
        &mut self,
        windows: &[RateWindow<'_>],
        now: Micros,
        capacity: usize,
    ) -> Result<(), Error> {
        self.latest = self.latest.max(now);
        let now = self.latest;
        self.remove_expired(now);
        let windows: Vec<(Digest, &RateWindow<'_>)> = windows
            .iter()
            .map(|window| (window_key(window), window))
            .collect();
        self.check(&windows, now)?;
        self.make_room(&windows, now, capacity)?;
        for (key, window) in windows {
            let log = self.by_window.entry(key).or_default();
            self.by_expiry.remove(&(log.expires, key));
            log.add(window.rate, now);
            self.by_expiry.insert((log.expires, key));
        }
        Ok(())
    }

    fn remove_expired(&mut self, now: Micros) {
        while let Some(&(expires, key)) = self.by_expiry.first()
            && expires <= now
        {
            self.by_expiry.pop_first();
            self.by_window.remove(&key);
        }
    }

    /// Fails if the rate of a window is used up. The error names the window with the longest wait.
    fn check(&self, windows: &[(Digest, &RateWindow<'_>)], now: Micros) -> Result<(), Error> {
        let empty = CallLog::default();
        let longest = windows
            .iter()
            .map(|(key, window)| {
                let log = self.by_window.get(key).unwrap_or(&empty);
                (log.wait(window.rate, now), window.pattern)
            })
            .max();
        match longest {
            None | Some((Wait::No, _)) => Ok(()),
            Some((wait, pattern)) => Err(Error::RateExceeded {
                pattern: excerpt(pattern),
                retry_after: match wait {
                    Wait::For(micros) => Some(Duration::from_micros(micros)),
                    Wait::No | Wait::Forever => None,
                },
            }),
        }
    }

    fn make_room(
        &self,
        windows: &[(Digest, &RateWindow<'_>)],
        now: Micros,
        capacity: usize,
    ) -> Result<(), Error> {
        let new = windows
            .iter()
            .filter(|(key, _)| !self.by_window.contains_key(key))
            .count();
        if self.by_window.len().saturating_add(new) <= capacity {
            return Ok(());
        }
        let first = self.by_expiry.first().map_or(now, |&(expires, _)| expires);
        Err(Error::RateLimiterFull {
            retry_after: Duration::from_micros(first.saturating_sub(now)),
        })
    }
}

/// How long a call has to wait, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    No,
    For(Micros),
    Forever,
}

/// The calls in one window.
#[derive(Default)]
struct CallLog {
    /// The time of each entry and its number of calls, the oldest first.
    calls: VecDeque<(Micros, u64)>,
    /// The time at which the last call leaves the window.
    expires: Micros,
}

impl CallLog {
    /// Returns how long one more call has to wait.
    fn wait(&self, rate: RateSpec, now: Micros) -> Wait {
        let unit = micros(rate.unit().duration());
        let inside = || {
            let calls = self.calls.iter();
            calls.filter(|(at, _)| at.saturating_add(unit) > now)
        };
        let used: u64 = inside().map(|(_, calls)| calls).sum();
        if rate.calls() == 0 {
            return Wait::Forever;
        }
        // The number of calls that have to leave the window first. It is above one if an earlier
        // token of the subject had a higher rate.
        let Some(excess) = used
            .checked_sub(rate.calls() - 1)
            .filter(|excess| *excess > 0)
        else {
            return Wait::No;
        };
        let mut leaving = 0;
        inside()
            .find(|(_, calls)| {
                leaving += calls;
                leaving >= excess
            })
            .map_or(Wait::No, |(at, _)| {
                Wait::For(at.saturating_add(unit).saturating_sub(now))
            })
    }

    fn add(&mut self, rate: RateSpec, now: Micros) {
        let unit = micros(rate.unit().duration());
        while self
            .calls
            .front()
            .is_some_and(|(at, _)| at.saturating_add(unit) <= now)
        {
            self.calls.pop_front();
        }
        // Rounding up makes a call leave the window later, so the rate is never exceeded.
        let at = if rate.calls() > MAX_ENTRIES {
            now.checked_next_multiple_of(unit / MAX_ENTRIES)
                .unwrap_or(now)
        } else {
            now
        };
        match self.calls.back_mut() {
            Some((last, calls)) if *last >= at => *calls += 1,
            _ => self.calls.push_back((at, 1)),
        }
        self.expires = self.expires.max(at.saturating_add(unit));
    }
}

/// Returns the key of the window's log. The unit is part of the key, because a log is kept for one
/// unit of its rate.
fn window_key(window: &RateWindow<'_>) -> Digest {
    let unit = window.rate.unit().to_string();
    let mut parts = vec![window.subject, window.pattern, &unit];
    parts.extend(window.actors.iter().map(String::as_str));
    digest(&parts)
}

fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Debug for MemoryRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRates")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
