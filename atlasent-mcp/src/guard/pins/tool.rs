//! The recorded definition of one tool, and which definitions are recorded.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The most tools of a server. Further tools are refused.
pub const MAX_TOOLS: usize = 4_096;

/// The most bytes of one definition, as compact JSON. A tool with a larger one is refused.
pub const MAX_DEFINITION_BYTES: usize = 1024 * 1024;

/// The most bytes of all recorded definitions of a server. Further tools are refused.
pub const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

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

impl PinnedTool {
    /// Returns the bytes of its definitions.
    pub(super) fn bytes(&self) -> usize {
        let changed = self.changed.as_ref();
        size(&self.definition) + changed.map_or(0, |changed| size(&changed.definition))
    }
}

/// Returns the bytes of a definition as compact JSON.
fn size(definition: &Value) -> usize {
    definition.to_string().len()
}

/// Records a tool that is new, or differs from its pin, if there is room. `recorded` is the number
/// of bytes of all definitions.
pub(super) fn record(
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

/// Returns the SHA-256 of the canonical JSON of a tool: keys sorted, no white space.
#[must_use]
pub fn digest(tool: &Value) -> String {
    let mut sorted = tool.clone();
    sorted.sort_all_objects();
    base16ct::lower::encode_string(&Sha256::digest(sorted.to_string()))
}
