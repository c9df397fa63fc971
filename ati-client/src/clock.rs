//! Unix time, as tokens have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Converts a time to whole Unix seconds. A time before 1970 becomes zero, at which every token was
/// issued in the future.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

/// Returns the time since 1970, or zero before it.
pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
