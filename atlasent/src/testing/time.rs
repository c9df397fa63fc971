//! A clock for tests, which replaces the waits of a client between its attempts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A clock on which waits take no time. Each wait is recorded, and moves the clock forward.
///
/// A client with this clock (`ClientBuilder::virtual_time`) always chooses the longest possible
/// wait instead of a random one.
///
/// ```
/// use std::time::Duration;
/// use atlasent::testing::VirtualTime;
///
/// let time = VirtualTime::new();
/// assert_eq!(time.waits(), [] as [Duration; 0]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct VirtualTime {
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl VirtualTime {
    /// Creates a clock without waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the waits so far, in their order.
    #[must_use]
    pub fn waits(&self) -> Vec<Duration> {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now() + self.waits().into_iter().sum::<Duration>()
    }

    /// Records a wait, and yields once to other tasks.
    pub(crate) async fn sleep(&self, wait: Duration) {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wait);
        tokio::task::yield_now().await;
    }
}
