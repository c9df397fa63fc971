//! Time as tokens have it: whole seconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix seconds. A clock that is set to before 1970 stands at zero, where every token was issued in
/// the future.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
