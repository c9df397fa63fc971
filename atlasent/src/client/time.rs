//! The clock of retries: the real one, or a test's.

use std::time::{Duration, Instant};

#[cfg(feature = "testing")]
use crate::testing::VirtualTime;

/// Where waits between attempts are spent, and deadlines read.
#[derive(Clone, Debug, Default)]
pub(crate) enum Time {
    #[default]
    Real,
    #[cfg(feature = "testing")]
    Virtual(VirtualTime),
}

impl Time {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Real => Instant::now(),
            #[cfg(feature = "testing")]
            Self::Virtual(time) => time.now(),
        }
    }

    pub(crate) async fn sleep(&self, wait: Duration) {
        match self {
            Self::Real => tokio::time::sleep(wait).await,
            #[cfg(feature = "testing")]
            Self::Virtual(time) => time.sleep(wait).await,
        }
    }

    /// Somewhere between nothing and `most`, so that clients that failed together do not come back together.
    pub(crate) fn jitter(&self, most: Duration) -> Duration {
        match self {
            Self::Real => most.mul_f64(fastrand::f64()),
            #[cfg(feature = "testing")]
            Self::Virtual(_) => most,
        }
    }
}
