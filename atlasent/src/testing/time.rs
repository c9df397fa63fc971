//! Time that a test controls, for the waits of a client between its attempts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A clock on which waits take no time at all: each is recorded, and moves the clock.
///
/// A client with one (`ClientBuilder::virtual_time`) waits as long as it ever may: nothing is left to chance.
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
    /// A clock on which nobody has waited yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The waits so far, in their order.
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

    /// Takes no time, but lets others run.
    pub(crate) async fn sleep(&self, wait: Duration) {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wait);
        tokio::task::yield_now().await;
    }
}
