//! The clock of a client: the real one, or a test's.

use std::time::{Duration, Instant};

#[cfg(feature = "testing")]
use crate::testing::VirtualTime;

/// The clock that measures deadlines and waits between attempts.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    Real,
    #[cfg(feature = "testing")]
    Virtual(VirtualTime),
}

impl Clock {
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

    /// Returns a random wait below `most`, so that clients that failed together do not retry
    /// together. A test's clock returns `most`.
    pub(crate) fn jitter(&self, most: Duration) -> Duration {
        match self {
            Self::Real => most.mul_f64(fastrand::f64()),
            #[cfg(feature = "testing")]
            Self::Virtual(_) => most,
        }
    }
}
