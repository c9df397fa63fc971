//! The definitions of a server's tools, as they were when each was first seen.
//!
//! Models read descriptions, and people approve tools by them. A server that changes what a tool is
//! after it was approved (a "rug pull") is found here: the guard records the SHA-256 of each tool's
//! canonical JSON at first sight, in one file a server. A tool with another definition is hidden
//! and its calls are refused, until a person accepts the change. A tool that disappears keeps its
//! pin, so it cannot come back as something else.
//!
//! ```text
//! <folder>/<server>.json
//! {"tools": {"read_file": {"sha256": "…", "definition": {…}, "first_seen": "2026-…Z",
//!                          "changed": {"sha256": "…", "definition": {…}, "seen": "2026-…Z"}}}}
//! ```
//!
//! The file is replaced as a whole, and changes of several guards wait for each other.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The most bytes of a file of pins.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The most tools of a server. Further tools are refused.
const MAX_TOOLS: usize = 4_096;

/// The pins of one server.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    /// The tools as they were last read.
    known: Mutex<BTreeMap<String, PinnedTool>>,
}

/// The recorded definition of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedTool {
    /// The SHA-256 of the canonical JSON of the definition, in lower-case hex.
    pub sha256: String,
    /// The definition.
    pub definition: Value,
    /// When the definition was first seen, or accepted (RFC 3339).
    pub first_seen: String,
    /// A newer definition of the server that was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<ChangedTool>,
}

/// A definition of a tool that differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedTool {
    /// The SHA-256 of the canonical JSON of the definition, in lower-case hex.
    pub sha256: String,
    /// The definition.
    pub definition: Value,
    /// When it was last seen (RFC 3339).
    pub seen: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    tools: BTreeMap<String, PinnedTool>,
}

/// How a tool compares with its pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinCheck {
    /// The definition is the recorded one, or was recorded just now.
    Same,
    /// The definition is another one, or cannot be recorded.
    Changed,
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
    /// The file does not hold pins. It is not replaced: whoever damages it must not be able to make
    /// the guard accept new definitions.
    #[error("`{path}` does not hold pins ({why}): restore it, or delete it to pin all tools anew")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The name of the server cannot be the name of a file.
    #[error("the server name `{0}` is not one of letters, digits, `-` and `_`, at most 64")]
    Name(String),
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
                for ((name, tool), digest) in tools.iter().zip(&digests) {
                    record(pins, name, tool, digest, now);
                }
            })?;
        }
        let same = |(tool, digest): (&(String, Value), &String)| match known.get(&tool.0) {
            Some(pin) if pin.sha256 == *digest => PinCheck::Same,
            _ => PinCheck::Changed,
        };
        Ok(tools.iter().zip(&digests).map(same).collect())
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

    /// Accepts the changed definition of a tool, if it is the one with this digest. Returns whether
    /// it was.
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

    /// Changes the file, and returns its tools.
    fn change(
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
        let text = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        let beside = self.path.with_added_extension("new");
        write_whole(&beside, &text).map_err(failed)?;
        fs::rename(&beside, &self.path).map_err(failed)?;
        Ok(file.tools)
    }
}

/// Records a tool that is new, or differs from its pin.
fn record(
    pins: &mut BTreeMap<String, PinnedTool>,
    name: &str,
    tool: &Value,
    digest: &str,
    now: Timestamp,
) {
    let has_room = pins.len() < MAX_TOOLS;
    match pins.get_mut(name) {
        Some(pin) if pin.sha256 == digest => {}
        Some(pin)
            if pin
                .changed
                .as_ref()
                .is_some_and(|changed| changed.sha256 == digest) => {}
        Some(pin) => {
            pin.changed = Some(ChangedTool {
                sha256: digest.to_owned(),
                definition: tool.clone(),
                seen: now.to_string(),
            });
        }
        None if has_room => {
            let pin = PinnedTool {
                sha256: digest.to_owned(),
                definition: tool.clone(),
                first_seen: now.to_string(),
                changed: None,
            };
            pins.insert(name.to_owned(), pin);
        }
        None => {}
    }
}

/// Whether a name can be that of a server: it is part of action names, scopes and file names.
#[must_use]
pub fn is_server_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Returns the SHA-256 of the canonical JSON of a tool: keys sorted, no white space.
#[must_use]
pub fn digest(tool: &Value) -> String {
    let mut sorted = tool.clone();
    sorted.sort_all_objects();
    base16ct::lower::encode_string(&Sha256::digest(sorted.to_string()))
}

fn load(path: &Path) -> Result<BTreeMap<String, PinnedTool>, PinError> {
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

fn io_error(path: &Path, source: io::Error) -> PinError {
    PinError::Io {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(description: &str) -> (String, Value) {
        let tool =
            json!({"name": "send", "description": description, "inputSchema": {"type": "object"}});
        ("send".to_owned(), tool)
    }

    fn check(pins: &Pins, description: &str) -> PinCheck {
        pins.check(&[tool(description)], Timestamp::UNIX_EPOCH)
            .unwrap()[0]
    }

    #[test]
    fn a_tool_is_pinned_at_first_sight_and_refused_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "mail").unwrap();
        assert_eq!(check(&pins, "Sends mail"), PinCheck::Same);
        assert_eq!(
            check(&pins, "Sends mail, and reads ~/.ssh"),
            PinCheck::Changed
        );
        // A guard that starts later knows as much, and the first definition still counts.
        let later = Pins::open(folder.path(), "mail").unwrap();
        assert_eq!(
            check(&later, "Sends mail, and reads ~/.ssh"),
            PinCheck::Changed
        );
        assert_eq!(check(&later, "Sends mail"), PinCheck::Same);
    }

    #[test]
    fn the_order_of_members_is_no_change() {
        let one: Value =
            serde_json::from_str(r#"{"a":{"c":1,"b":[{"y":1,"x":2}]},"n":"t"}"#).unwrap();
        let other: Value =
            serde_json::from_str(r#"{"n":"t","a":{"b":[{"x":2,"y":1}],"c":1}}"#).unwrap();
        assert_eq!(digest(&one), digest(&other));
    }

    #[test]
    fn only_the_change_that_was_shown_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "mail").unwrap();
        check(&pins, "one");
        check(&pins, "two");
        let [(name, shown)] = &pins.changed()[..] else {
            panic!("one tool changed");
        };
        let shown = &shown.changed.as_ref().unwrap().sha256;
        // The server changes it once more before the person answers.
        check(&pins, "three");
        assert!(!pins.accept(name, shown, Timestamp::UNIX_EPOCH).unwrap());
        assert_eq!(check(&pins, "two"), PinCheck::Changed);
        assert!(pins.accept(name, shown, Timestamp::UNIX_EPOCH).unwrap());
        assert_eq!(check(&pins, "two"), PinCheck::Same);
        assert_eq!(check(&pins, "one"), PinCheck::Changed);
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "mail").unwrap();
        check(&pins, "one");
        let path = folder.path().join("mail.json");
        let text = fs::read_to_string(&path).unwrap();
        for damaged in ["", "{}", &text.replace("one", "two")] {
            fs::write(&path, damaged).unwrap();
            assert!(Pins::open(folder.path(), "mail").is_err(), "{damaged}");
            let known = pins.check(&[tool("three")], Timestamp::UNIX_EPOCH);
            assert!(known.is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "a.b", "ü", &"a".repeat(65)] {
            assert!(
                matches!(Pins::open(folder.path(), name), Err(PinError::Name(_))),
                "{name}"
            );
        }
    }
}
