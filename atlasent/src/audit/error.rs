//! The error of a check that could not run to its end.

use std::{fmt, io};

use crate::text::Escaped;

/// The reason why a bundle could not be checked. The bundle counts as not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Reading the bundle, or copying it to the temporary file, failed.
    #[error("the bundle cannot be read beyond byte {at}: {source}")]
    Io {
        /// The number of bytes read before the failure.
        at: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The text is not a bundle.
    #[error("this is not a bundle: {} at {}", Escaped::new(why), Position(*at, *event))]
    Malformed {
        /// The position of the mistake in bytes, from 0. Inside a value, it may be one byte too
        /// low.
        at: u64,
        /// The index of the event that contains the mistake, from 0. `None` outside the events.
        event: Option<u64>,
        /// The mistake.
        why: String,
    },
    /// The bundle, or a value in it, exceeds a limit.
    #[error("{} at {}", Escaped::new(why), Position(*at, *event))]
    TooLarge {
        /// The position in bytes, from 0, at which the value that is too large begins, or at which
        /// the bundle exceeds its limit.
        at: u64,
        /// The index of the event that is too large, from 0. `None` outside the events.
        event: Option<u64>,
        /// The limit that was exceeded, and how to raise it.
        why: String,
    },
}

struct Position(u64, Option<u64>);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.0)?;
        match self.1 {
            Some(event) => write!(f, ", in the event at index {event}"),
            None => Ok(()),
        }
    }
}
