//! A position in the trail, and the file that keeps one.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use atlasent::audit::GENESIS_HASH;
use serde::{Deserialize, Serialize};

use crate::files::{self, Publish};

/// The limit on the length of a position file, in bytes.
const LONGEST: u64 = 1_024;

/// The last event in a log, after which the log continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) sequence: u64,
    pub(super) hash: String,
}

impl Position {
    /// The position before the first event.
    pub(super) fn beginning() -> Self {
        Self {
            sequence: 0,
            hash: GENESIS_HASH.to_owned(),
        }
    }

    /// Reads a position from a file, if the file exists.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let text = match files::read_own(path, LONGEST) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|_| {
            let error = io::Error::new(
                ErrorKind::InvalidData,
                "it holds no position of an audit log: remove it, and the log begins with the first event",
            );
            named(path, &error)
        })
    }

    /// Writes the position to a file, durably.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        files::publish(path, Publish::Over, |file| file.write_all(&text))
            .map_err(|error| named(path, &error))
    }
}

/// Names the file that an error is about.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}
