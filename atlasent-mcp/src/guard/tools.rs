//! The tools of the server that the guard has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::Guard;
use super::pins::{MAX_DEFINITION_BYTES, MAX_TOOLS, MAX_TOTAL_BYTES, PinCheck, PinError};
use crate::mapping::MappingError;
use crate::tool::Tool;

/// The tools that the guard has seen in all sessions. A server may show some clients more of them.
#[derive(Debug, Default)]
pub(super) struct KnownTools(Mutex<State>);

/// The names are those of recorded tools, so a server cannot make the sets grow without bound.
#[derive(Debug, Default)]
struct State {
    seen: BTreeSet<String>,
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
        let recorded = tools.into_iter().zip(checks);
        let recorded = recorded.filter(|(_, check)| *check != PinCheck::NoRoom);
        state.seen.extend(recorded.map(|((name, _), _)| name));
        // A changed tool has rules and no calls: its recorded definition stays.
        let mut usable = Vec::new();
        for definition in self.pins.definitions(&state.seen) {
            match Tool::from_json(&definition) {
                Ok(tool) => usable.push(tool),
                Err(error) => tracing::warn!(%error, "a tool cannot be used"),
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
        let unrecorded = checks.iter().filter(|check| **check == PinCheck::NoRoom);
        let unrecorded = unrecorded.count();
        if unrecorded > 0 {
            tracing::warn!(
                unrecorded,
                "tools of the server are refused, because they cannot be recorded: at most \
                 {MAX_TOOLS} tools of {MAX_DEFINITION_BYTES} bytes each and {MAX_TOTAL_BYTES} \
                 bytes in all are"
            );
        }
        let mut state = self.tools.state();
        for ((name, _), check) in tools.iter().zip(&checks) {
            match check {
                PinCheck::NoRoom => {}
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use atlasent::testing::MockAuthority;
    use serde_json::json;

    use super::*;
    use crate::guard::pins::Pins;
    use crate::{Gate, Mapping};

    #[test]
    fn a_server_with_ever_new_tools_makes_the_guard_grow_up_to_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Arc::new(MockAuthority::new());
        let gate = Gate::builder(authority, Mapping::standard("fake").unwrap()).build();
        let guard = Guard::new(gate, Pins::open(folder.path(), "fake").unwrap());
        let list = |round: usize, description: &str| {
            let tools = (0..2_000).map(|number| {
                let name = format!("t{round}-{number}");
                let tool = json!({
                    "name": name, "description": description, "inputSchema": {"type": "object"},
                });
                (name, tool)
            });
            tools.collect::<BTreeMap<_, _>>()
        };
        for round in 0..4 {
            guard.learn(list(round, "one")).unwrap();
        }
        for round in 0..4 {
            guard.learn(list(round, "two")).unwrap();
        }
        let state = guard.tools.state();
        assert_eq!(state.seen.len(), MAX_TOOLS);
        assert_eq!(state.changed.len(), MAX_TOOLS);
    }
}
