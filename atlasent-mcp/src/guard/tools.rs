//! The tools of the server that the guard has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::Guard;
use super::pins::{PinCheck, PinError};
use crate::mapping::MappingError;
use crate::tool::Tool;

/// The tools that the guard has seen in all sessions. A server may show some clients more of them.
#[derive(Debug, Default)]
pub(super) struct KnownTools(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    definitions: BTreeMap<String, Value>,
    changed: BTreeSet<String>,
}

/// Why the tools of a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolsError {
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

impl KnownTools {
    /// Whether the definition of a tool is not the recorded one.
    pub(super) fn is_changed(&self, name: &str) -> bool {
        self.state().changed.contains(name)
    }

    /// Whether the definition of any tool is not the recorded one.
    fn has_changed(&self) -> bool {
        !self.state().changed.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// Whether the definition of any tool is not the recorded one.
    pub(super) fn has_changed_tools(&self) -> bool {
        self.tools.has_changed()
    }

    /// Takes the whole list of the server's tools.
    pub(super) fn learn(&self, tools: BTreeMap<String, Value>) -> Result<(), ToolsError> {
        let tools: Vec<(String, Value)> = tools.into_iter().collect();
        let checks = self.compare(&tools)?;
        let mut state = self.tools.state();
        for ((name, definition), check) in tools.into_iter().zip(checks) {
            // A changed tool has rules and no calls: its first definition stays.
            if check == PinCheck::Same || !state.definitions.contains_key(&name) {
                state.definitions.insert(name, definition);
            }
        }
        let mut usable = Vec::new();
        for (name, definition) in &state.definitions {
            match Tool::from_json(definition) {
                Ok(tool) => usable.push(tool),
                Err(error) => {
                    tracing::warn!(tool = %name.escape_debug(), %error, "a tool cannot be used");
                }
            }
        }
        for error in self.gate.set_tools(usable)? {
            tracing::warn!(%error, "a tool cannot be used");
        }
        Ok(())
    }

    /// Compares tools of a list with their pins.
    pub(super) fn compare(&self, tools: &[(String, Value)]) -> Result<Vec<PinCheck>, PinError> {
        let checks = self.pins.check(tools, Timestamp::now())?;
        let mut state = self.tools.state();
        for ((name, _), check) in tools.iter().zip(&checks) {
            match check {
                PinCheck::Same => {
                    state.changed.remove(name);
                }
                PinCheck::Changed => {
                    if state.changed.insert(name.clone()) {
                        tracing::warn!(
                            tool = %name.escape_debug(),
                            "the server changed the definition of a tool: it is refused until \
                             `atlasent guard accept`"
                        );
                    }
                }
            }
        }
        Ok(checks)
    }
}
