//! The file of the pins of one server.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Pins;
use super::tool::{PinnedTool, digest};

/// The most bytes of a file of pins.
pub(super) const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    tools: BTreeMap<String, PinnedTool>,
}

/// Why the pins of a server cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The file cannot be read or written.
    #[error("`{path}`: {source}")]
    Io {
        /// The path of the file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The file does not hold pins. The guard does not replace it, because it would then accept the
    /// current definitions as new.
    #[error("`{path}` does not hold pins ({why}): restore it, or delete it to pin all tools anew")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The file would be larger than one that can be read. It stays as it was.
    #[error(
        "`{path}` would have {bytes} bytes, and at most {MAX_FILE_BYTES} are read: delete it to pin \
         all tools anew"
    )]
    TooLarge {
        /// The path of the file.
        path: String,
        /// The bytes that it would have.
        bytes: usize,
    },
    /// The name of the server cannot be the name of a file.
    #[error("the server name `{0}` is invalid: use at most 64 letters, digits, `-` and `_`")]
    Name(String),
}

impl Pins {
    /// Changes the file, and returns its tools.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, PinnedTool>),
    ) -> Result<BTreeMap<String, PinnedTool>, PinError> {
        let failed = |source| io_error(&self.path, source);
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(self.path.with_added_extension("lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut tools = load(&self.path)?;
        let before = tools.clone();
        change(&mut tools);
        if tools == before {
            return Ok(tools);
        }
        let file = PinFile { tools };
        // Written without spaces, so that the size follows from the size of the definitions.
        let text = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(PinError::TooLarge {
                path: self.path.display().to_string(),
                bytes: text.len(),
            });
        }
        let beside = self.path.with_added_extension("new");
        write_whole(&beside, &text).map_err(failed)?;
        fs::rename(&beside, &self.path).map_err(failed)?;
        Ok(file.tools)
    }
}

pub(super) fn load(path: &Path) -> Result<BTreeMap<String, PinnedTool>, PinError> {
    let unreadable = |why: String| PinError::Unreadable {
        path: path.display().to_string(),
        why,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            return Err(unreadable(format!(
                "it has more than {MAX_FILE_BYTES} bytes"
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io_error(path, error)),
    }
    let text = fs::read(path).map_err(|source| io_error(path, source))?;
    let file: PinFile = serde_json::from_slice(&text)
        .map_err(|error| unreadable(atlasent::text::json_error(&error)))?;
    let is_whole = |pin: &PinnedTool| digest(&pin.definition) == pin.sha256;
    match file.tools.values().all(is_whole) {
        true => Ok(file.tools),
        false => Err(unreadable(
            "a definition does not have its digest".to_owned(),
        )),
    }
}

fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file: File =
        private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Creates files that only their owner can read.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

pub(super) fn io_error(path: &Path, source: io::Error) -> PinError {
    PinError::Io {
        path: path.display().to_string(),
        source,
    }
}
