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
//! The file is replaced as a whole, and changes of several guards wait for each other. What a
//! server lists cannot make it grow without bound: a tool beyond the limits is not recorded, and a
//! tool that is not recorded is refused.

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
pub const MAX_TOOLS: usize = 4_096;

/// The most bytes of one definition, as compact JSON. A tool with a larger one is refused.
pub const MAX_DEFINITION_BYTES: usize = 1024 * 1024;

/// The most bytes of all recorded definitions of a server. Further tools are refused.
pub const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

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
    /// The definition is another one.
    Changed,
    /// The tool is not recorded: it is beyond [`MAX_TOOLS`], [`MAX_DEFINITION_BYTES`] or
    /// [`MAX_TOTAL_BYTES`].
    NoRoom,
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
                let mut recorded = pins.values().map(PinnedTool::bytes).sum();
                for ((name, tool), digest) in tools.iter().zip(&digests) {
                    record(pins, &mut recorded, name, tool, digest, now);
                }
            })?;
        }
        let same = |(tool, digest): (&(String, Value), &String)| match known.get(&tool.0) {
            Some(pin) if pin.sha256 == *digest => PinCheck::Same,
            Some(_) => PinCheck::Changed,
            None => PinCheck::NoRoom,
        };
        Ok(tools.iter().zip(&digests).map(same).collect())
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
        // Without spaces, the size follows from that of the definitions.
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

impl PinnedTool {
    /// The bytes of its definitions.
    fn bytes(&self) -> usize {
        let changed = self.changed.as_ref();
        size(&self.definition) + changed.map_or(0, |changed| size(&changed.definition))
    }
}

/// The bytes of a definition as compact JSON.
fn size(definition: &Value) -> usize {
    definition.to_string().len()
}

/// Records a tool that is new, or differs from its pin, if there is room. `recorded` is the number
/// of bytes of all definitions.
fn record(
    pins: &mut BTreeMap<String, PinnedTool>,
    recorded: &mut usize,
    name: &str,
    tool: &Value,
    digest: &str,
    now: Timestamp,
) {
    let bytes = size(tool);
    let has_room = |others: usize| {
        bytes <= MAX_DEFINITION_BYTES && others.saturating_add(bytes) <= MAX_TOTAL_BYTES
    };
    let is_full = pins.len() >= MAX_TOOLS;
    match pins.get_mut(name) {
        Some(pin) if pin.sha256 == digest => {}
        Some(pin)
            if pin
                .changed
                .as_ref()
                .is_some_and(|changed| changed.sha256 == digest) => {}
        Some(pin) => {
            let replaced = pin.changed.take();
            *recorded -= replaced.map_or(0, |replaced| size(&replaced.definition));
            if !has_room(*recorded) {
                return;
            }
            *recorded += bytes;
            pin.changed = Some(ChangedTool {
                sha256: digest.to_owned(),
                definition: tool.clone(),
                seen: now.to_string(),
            });
        }
        None if !is_full && has_room(*recorded) => {
            *recorded += bytes;
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

    fn named(name: &str, bytes: usize) -> (String, Value) {
        (
            name.to_owned(),
            json!({"name": name, "description": "x".repeat(bytes)}),
        )
    }

    #[test]
    fn a_server_with_ever_new_tools_is_recorded_up_to_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "mail").unwrap();
        for round in 0..3 {
            let tools: Vec<_> = (0..2_000)
                .map(|number| named(&format!("t{round}-{number}"), 1))
                .collect();
            let checks = pins.check(&tools, Timestamp::UNIX_EPOCH).unwrap();
            let same = checks.iter().filter(|check| **check == PinCheck::Same);
            assert_eq!(same.count(), [2_000, 2_000, MAX_TOOLS - 4_000][round]);
            assert!(!checks.contains(&PinCheck::Changed));
        }
        assert_eq!(load(&pins.path).unwrap().len(), MAX_TOOLS);
        // What was recorded still counts.
        let first = pins.check(&[named("t0-0", 1)], Timestamp::UNIX_EPOCH);
        assert_eq!(first.unwrap(), [PinCheck::Same]);
    }

    #[test]
    fn large_definitions_leave_a_file_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "mail").unwrap();
        let large = MAX_DEFINITION_BYTES - 100;
        let tools: Vec<_> = (0..20)
            .map(|number| named(&format!("t{number:02}"), large))
            .collect();
        let checks = pins.check(&tools, Timestamp::UNIX_EPOCH).unwrap();
        let same = checks.iter().filter(|check| **check == PinCheck::Same);
        assert_eq!(same.count(), MAX_TOTAL_BYTES / MAX_DEFINITION_BYTES);
        // A change that has no room is a change all the same, and is not recorded.
        for bytes in [large, 10 * MAX_DEFINITION_BYTES] {
            let (name, mut changed) = named("t00", bytes);
            changed["more"] = true.into();
            let checks = pins.check(&[(name, changed)], Timestamp::UNIX_EPOCH);
            assert_eq!(checks.unwrap(), [PinCheck::Changed]);
        }
        assert!(pins.changed().is_empty());
        let (name, tool) = named("alone", MAX_DEFINITION_BYTES);
        let other = Pins::open(folder.path(), "other").unwrap();
        let checks = other.check(&[(name, tool)], Timestamp::UNIX_EPOCH);
        assert_eq!(checks.unwrap(), [PinCheck::NoRoom]);
        let again = Pins::open(folder.path(), "mail").unwrap();
        assert_eq!(
            again.check(&tools, Timestamp::UNIX_EPOCH).unwrap(),
            checks_of(&tools)
        );
    }

    /// The checks of tools of which only the first have room.
    fn checks_of(tools: &[(String, Value)]) -> Vec<PinCheck> {
        let room = MAX_TOTAL_BYTES / MAX_DEFINITION_BYTES;
        (0..tools.len())
            .map(|place| match place < room {
                true => PinCheck::Same,
                false => PinCheck::NoRoom,
            })
            .collect()
    }

    #[test]
    fn a_file_that_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path(), "mail").unwrap();
        check(&pins, "one");
        let before = fs::read(&pins.path).unwrap();
        let grown = pins.change(|pins| {
            let definition = Value::from("x".repeat(MAX_FILE_BYTES as usize));
            pins.get_mut("send").unwrap().definition = definition;
        });
        let error = grown.unwrap_err();
        assert!(matches!(error, PinError::TooLarge { .. }), "{error}");
        assert_eq!(fs::read(&pins.path).unwrap(), before);
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
