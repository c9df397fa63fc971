//! The tools of the server that the guard has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::Guard;
use super::pins::{MAX_DEFINITION_BYTES, MAX_TOOLS, MAX_TOTAL_BYTES, PinCheck, PinError, digest};
use crate::Refusal;
use crate::mapping::MappingError;
use crate::operation::shown;
use crate::tool::Tool;

/// The code of a refusal because the definition of a tool is not the recorded one.
const TOOL_CHANGED: &str = "TOOL_CHANGED";

/// The code of a refusal because the server does not list the tool.
const NO_SUCH_TOOL: &str = "NO_SUCH_TOOL";

/// The tools that the guard has seen in all sessions. A server may show some clients more tools
/// than others.
///
/// Only recorded tools are in it, so a server cannot make it grow without bound.
#[derive(Debug, Default)]
pub(super) struct KnownTools(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seen: BTreeSet<String>,
    /// The digests of the changed definitions that were logged.
    reported: BTreeMap<String, String>,
}

/// The recorded tools that the server of one session lists, with the digests of their definitions
/// in this session.
///
/// Each session has its own process or connection, so two sessions may see two definitions of one
/// tool: a server that was started before an update still lists the old one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedTools(Arc<Mutex<BTreeMap<String, String>>>);

/// Why the tools of a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolsError {
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error(
        "`paths.arguments` names `{0}`, which is an argument of no tool: remove it or correct the \
         name"
    )]
    NoPathArgument(String),
}

impl KnownTools {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ListedTools {
    /// Replaces all tools by the recorded ones among `tools`.
    fn replace(&self, tools: &[(String, Value)], checks: &[PinCheck]) {
        let recorded = recorded_digests(tools, checks);
        *self.digests() = recorded;
    }

    /// Adds the recorded ones among `tools`, and replaces the digests of tools that it already has.
    pub(super) fn add(&self, tools: &[(String, Value)], checks: &[PinCheck]) {
        let recorded = recorded_digests(tools, checks);
        self.digests().extend(recorded);
    }

    fn digests(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// Returns whether the server of a session lists a tool whose definition is not the recorded
    /// one.
    pub(super) fn has_changed_tools(&self, listed: &ListedTools) -> bool {
        let digests = listed.digests();
        let mut checks = digests
            .iter()
            .map(|(name, digest)| self.pins.check_digest(name, digest));
        checks.any(|check| check == PinCheck::Changed)
    }

    /// Refuses a tool unless the server of the session lists it with the recorded definition.
    pub(super) fn check_listed(&self, tool: &str, listed: &ListedTools) -> Result<(), Refusal> {
        let digests = listed.digests();
        let digest = digests.get(tool);
        match digest.map(|digest| self.pins.check_digest(tool, digest)) {
            Some(PinCheck::Same) => Ok(()),
            Some(PinCheck::Changed) => Err(Refusal::deny(
                TOOL_CHANGED,
                "the server changed the definition of this tool after it was recorded, and nobody \
                 accepted the change yet (`atlasent guard accept`)",
            )),
            Some(PinCheck::NoRoom) | None => Err(Refusal::deny(
                NO_SUCH_TOOL,
                format!("the server has no usable tool `{}`", shown(tool)),
            )),
        }
    }

    /// Takes the whole list of the tools of a session's server.
    pub(super) fn learn(
        &self,
        listed: &ListedTools,
        tools: BTreeMap<String, Value>,
    ) -> Result<(), ToolsError> {
        let tools: Vec<(String, Value)> = tools.into_iter().collect();
        let checks = self.compare(&tools)?;
        listed.replace(&tools, &checks);
        let mut state = self.tools.state();
        let recorded = tools.into_iter().zip(checks);
        let recorded = recorded.filter(|(_, check)| *check != PinCheck::NoRoom);
        state.seen.extend(recorded.map(|((name, _), _)| name));
        // A changed tool keeps its recorded definition, although its calls are refused.
        let mut usable = Vec::new();
        for definition in self.pins.definitions(&state.seen) {
            match Tool::from_json(&definition) {
                Ok(tool) => usable.push(tool),
                Err(error) => tracing::warn!(%error, "a tool cannot be used"),
            }
        }
        let unknown = self.paths.as_ref();
        let unknown = unknown.and_then(|paths| paths.unknown_argument(&usable));
        if let Some(argument) = unknown {
            return Err(ToolsError::NoPathArgument(shown(argument)));
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
        let changed = tools.iter().zip(&checks);
        let changed = changed.filter(|(_, check)| **check == PinCheck::Changed);
        let mut state = self.tools.state();
        for ((name, tool), _) in changed {
            let digest = digest(tool);
            if state.reported.get(name) != Some(&digest) {
                state.reported.insert(name.clone(), digest);
                tracing::warn!(
                    tool = %name.escape_debug(),
                    "the server changed the definition of a tool: it is refused until \
                     `atlasent guard accept`"
                );
            }
        }
        Ok(checks)
    }
}

fn recorded_digests(tools: &[(String, Value)], checks: &[PinCheck]) -> BTreeMap<String, String> {
    let recorded = tools.iter().zip(checks);
    let recorded = recorded.filter(|(_, check)| **check != PinCheck::NoRoom);
    recorded
        .map(|((name, tool), _)| (name.clone(), digest(tool)))
        .collect()
}

#[cfg(test)]
mod tests {
    use atlasent::testing::MockAuthority;
    use serde_json::json;

    use super::*;
    use crate::guard::pins::Pins;
    use crate::{Gate, Mapping};

    #[test]
    fn a_server_with_ever_new_tools_cannot_make_the_guard_grow_without_bound() {
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
        let listed = ListedTools::default();
        for description in ["one", "two"] {
            for round in 0..4 {
                guard.learn(&listed, list(round, description)).unwrap();
            }
        }
        for round in 0..4 {
            let tools: Vec<_> = list(round, "three").into_iter().collect();
            let checks = guard.compare(&tools).unwrap();
            listed.add(&tools, &checks);
        }
        assert_eq!(listed.digests().len(), MAX_TOOLS);
        let state = guard.tools.state();
        assert_eq!(state.seen.len(), MAX_TOOLS);
        assert_eq!(state.reported.len(), MAX_TOOLS);
    }
}
