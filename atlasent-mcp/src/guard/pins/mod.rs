//! Records the definition of each of a server's tools when it is first seen, and finds changes.
//!
//! Models read descriptions, and people approve tools by them. A server can change a tool after it
//! was approved (a "rug pull"). So the guard records the SHA-256 of each tool's canonical JSON at
//! first sight, in one file per server. A tool with another definition is hidden and its calls are
//! refused, until a person accepts the change. A tool that disappears keeps its pin, so it cannot
//! come back as a different tool.
//!
//! ```text
//! <folder>/<server>.json
//! {"tools": {"read_file": {"sha256": "…", "definition": {…}, "first_seen": "2026-…Z",
//!                          "changed": {"sha256": "…", "definition": {…}, "seen": "2026-…Z"}}}}
//! ```
//!
//! The file is replaced as a whole, and guards that change it wait for each other. Its size is
//! bounded: a tool beyond the limits is not recorded, and calls of unrecorded tools are refused.

mod file;
mod tool;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

pub use file::PinError;
pub use tool::{ChangedTool, MAX_DEFINITION_BYTES, MAX_TOOLS, MAX_TOTAL_BYTES, PinnedTool, digest};

use file::{io_error, load};
use tool::record;

/// The pins of one server.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    /// The tools as they were last read.
    known: Mutex<BTreeMap<String, PinnedTool>>,
}

/// How a tool compares with its pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinCheck {
    /// The definition is the recorded one, or has just been recorded.
    Same,
    /// The definition differs from the recorded one.
    Changed,
    /// The tool is not recorded: it is beyond [`MAX_TOOLS`], [`MAX_DEFINITION_BYTES`] or
    /// [`MAX_TOTAL_BYTES`].
    NoRoom,
}

impl Pins {
    /// Opens the pins of a server in a folder, which is created for its owner alone.
    ///
    /// # Errors
    ///
    /// [`PinError`] for a folder or file that cannot be used, and for a name that cannot be that of
    /// a file.
    pub fn open(folder: &Path, server: &str) -> Result<Self, PinError> {
        if !is_server_name(server) {
            return Err(PinError::Name(server.chars().take(64).collect()));
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(folder)
            .map_err(|source| io_error(folder, source))?;
        let path = folder.join(format!("{server}.json"));
        let known = Mutex::new(load(&path)?);
        Ok(Self { path, known })
    }

    /// Compares the definitions of tools with their pins, and records those that are new. The
    /// results are in the order of the tools.
    ///
    /// # Errors
    ///
    /// [`PinError`] when new definitions cannot be recorded. Nothing counts as seen then.
    pub fn check(
        &self,
        tools: &[(String, Value)],
        now: Timestamp,
    ) -> Result<Vec<PinCheck>, PinError> {
        let digests: Vec<_> = tools.iter().map(|(_, tool)| digest(tool)).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |(tool, digest): (&(String, Value), &String)| {
            known.get(&tool.0).is_some_and(|pin| pin.sha256 == *digest)
        };
        // The file is read again before a tool counts as changed: a person may have accepted it.
        if !tools.iter().zip(&digests).all(is_same) {
            *known = self.change(|pins| {
                let mut recorded = pins.values().map(PinnedTool::bytes).sum();
                for ((name, tool), digest) in tools.iter().zip(&digests) {
                    record(pins, &mut recorded, name, tool, digest, now);
                }
            })?;
        }
        let compared = tools.iter().zip(&digests);
        Ok(compared
            .map(|((name, _), digest)| compare(&known, name, digest))
            .collect())
    }

    /// Compares the digest of a tool's definition with its pin, as the pins were last read.
    pub(super) fn check_digest(&self, name: &str, sha256: &str) -> PinCheck {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        compare(&known, name, sha256)
    }

    /// Returns the recorded definitions of tools with these names.
    pub(super) fn definitions<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Vec<Value> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pins = names.into_iter().filter_map(|name| known.get(name));
        pins.map(|pin| pin.definition.clone()).collect()
    }

    /// Returns the tools whose definition changed and was not accepted.
    #[must_use]
    pub fn changed(&self) -> Vec<(String, PinnedTool)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = known.iter().filter(|(_, pin)| pin.changed.is_some());
        changed
            .map(|(name, pin)| (name.clone(), pin.clone()))
            .collect()
    }

    /// Accepts the changed definition of a tool if it has this digest. Returns whether it was
    /// accepted.
    ///
    /// # Errors
    ///
    /// [`PinError`] when the change cannot be recorded. Nothing is accepted then.
    pub fn accept(&self, name: &str, sha256: &str, now: Timestamp) -> Result<bool, PinError> {
        let mut accepted = false;
        let tools = self.change(|pins| {
            let Some(pin) = pins.get_mut(name) else {
                return;
            };
            if let Some(changed) = pin.changed.take_if(|changed| changed.sha256 == sha256) {
                accepted = true;
                pin.sha256 = changed.sha256;
                pin.definition = changed.definition;
                pin.first_seen = now.to_string();
            }
        })?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = tools;
        Ok(accepted)
    }
}

/// Whether a name can be that of a server: it is part of action names, scopes and file names.
#[must_use]
pub fn is_server_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

fn compare(pins: &BTreeMap<String, PinnedTool>, name: &str, sha256: &str) -> PinCheck {
    match pins.get(name) {
        Some(pin) if pin.sha256 == sha256 => PinCheck::Same,
        Some(_) => PinCheck::Changed,
        None => PinCheck::NoRoom,
    }
}

#[cfg(test)]
mod tests;
