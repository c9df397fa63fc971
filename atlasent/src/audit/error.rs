//! Why a bundle could not be checked at all.

use std::{fmt, io};

use crate::text::Escaped;

/// Why a bundle could not be checked at all. It is no verdict, and certainly not that the bundle is
/// good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Reading failed.
    #[error("the bundle cannot be read beyond byte {at}: {source}")]
    Io {
        /// How many bytes had been read.
        at: u64,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// This is not a bundle.
    #[error("this is not a bundle: {} at {}", Escaped::new(why), Position(*at, *event))]
    Malformed {
        /// The byte, from 0. Inside of a value it may be the one before.
        at: u64,
        /// The event that it is in, from 0.
        event: Option<u64>,
        /// What is wrong.
        why: String,
    },
    /// More than was allowed for.
    #[error("{} at {}", Escaped::new(why), Position(*at, *event))]
    TooLarge {
        /// The byte where it begins, from 0.
        at: u64,
        /// The event that it is in, from 0.
        event: Option<u64>,
        /// What is too large, and what to do.
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
