//! Checks the arguments of tool calls against the schemas of the tools, before anybody is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::Gate;
use crate::caller::Caller;
use crate::mapping::MappingError;
use crate::operation::{Kind, Operation, shown};
use crate::refusal::Refusal;
use crate::schema::{ArgumentError, CompiledTool, Requirement};
use crate::tool::{Tool, ToolError};

/// The context key under which policies see the chain of a delegated token. An argument with this
/// name is refused here, with an error that names it; the error of an authority would not.
const ACTORS: &str = "actors";

type Tools = BTreeMap<String, Arc<CompiledTool>>;

/// The tools of the server, if they are known.
#[derive(Debug, Default)]
pub(super) struct Catalogue(RwLock<Option<Arc<Tools>>>);

impl Catalogue {
    fn tools(&self) -> Option<Arc<Tools>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Gate {
    /// Sets the tools of the server. From then on, a call of another tool is refused, and so are
    /// arguments that do not fit their tool's schema. A second call replaces the tools.
    ///
    /// Without this call, arguments are not checked. An unchanged tool keeps its compiled schema. A
    /// tool whose schema cannot be used is left out, so its calls are refused; the result lists the
    /// reasons. References to other documents are not resolved.
    ///
    /// # Errors
    ///
    /// [`MappingError`] if the [mapping does not fit](crate::Mapping::check) the tools. The tools
    /// stay as they were.
    pub fn set_tools(&self, tools: Vec<Tool>) -> Result<Vec<ToolError>, MappingError> {
        self.shared.mapping.check(&tools)?;
        let mut unusable = Vec::new();
        let known = self.shared.catalogue.tools();
        let mut compiled = Tools::new();
        for tool in tools {
            let tool = self.shared.mapping.restrict(tool);
            let same = known.as_ref().and_then(|known| known.get(tool.name()));
            let same = same.filter(|known| *known.tool() == tool).map(Arc::clone);
            match same.map_or_else(|| CompiledTool::new(tool).map(Arc::new), Ok) {
                Ok(tool) => drop(compiled.insert(tool.tool().name().to_owned(), tool)),
                Err(error) => unusable.push(error),
            }
        }
        let mut catalogue =
            (self.shared.catalogue.0.write()).unwrap_or_else(PoisonError::into_inner);
        *catalogue = Some(Arc::new(compiled));
        Ok(unusable)
    }

    /// Returns whether the tools of the server are [known](Self::set_tools).
    #[cfg(feature = "guard")]
    pub(crate) fn knows_tools(&self) -> bool {
        self.shared.catalogue.tools().is_some()
    }

    /// Returns whether a tool declares the schema of its results. It is `false` for a tool that is
    /// not [known](Self::set_tools).
    #[must_use]
    pub fn has_output_schema(&self, tool: &str) -> bool {
        let tools = self.shared.catalogue.tools();
        let tool = tools.as_ref().and_then(|tools| tools.get(tool));
        tool.is_some_and(|tool| tool.tool().has_output_schema())
    }

    /// Returns a known tool, or `None` if the tools are not known.
    pub(super) fn known_tool(&self, name: &str) -> Result<Option<Arc<CompiledTool>>, Refusal> {
        let Some(tools) = self.shared.catalogue.tools() else {
            return Ok(None);
        };
        let tool = tools.get(name).ok_or_else(|| {
            let reason = format!("the server has no usable tool `{}`", shown(name));
            Refusal::deny("NO_SUCH_TOOL", reason)
        });
        tool.map(|tool| Some(Arc::clone(tool)))
    }

    /// Refuses arguments that no authority can decide on, that do not fit the schema of their tool,
    /// or that set a part which the caller may not set.
    pub(super) async fn check_arguments(
        &self,
        operation: &Operation,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let actors = operation.context().get(ACTORS);
        if actors.is_some_and(|value| !value.is_null()) {
            return Err(Refusal::invalid(
                "INVALID_ARGUMENTS",
                "no argument can be called `actors`: policies see the chain of a delegated token \
                 under this name",
            ));
        }
        let (Kind::Tool, Some(name)) = (operation.kind(), operation.target()) else {
            return Ok(());
        };
        let Some(tool) = self.known_tool(name)? else {
            return Ok(());
        };
        let arguments = Value::Object(operation.argument_values());
        let scopes = granted_scopes(tool.requirements(), caller);
        tool.check(&arguments, &scopes).map_err(refusal)?;
        let Err(error) = tool.check_restricted(&arguments, &scopes) else {
            return Ok(());
        };
        // Only a call that sets such a part asks whether the policies allow it.
        let allowed = self.allowed_actions(tool.requirements(), caller).await?;
        match allowed.is_empty() {
            true => Err(refusal(error)),
            false => {
                let met = &scopes | &allowed;
                tool.check_restricted(&arguments, &met).map_err(refusal)
            }
        }
    }
}

/// Returns the required scopes that a caller's token grants.
pub(super) fn granted_scopes(
    requirements: &BTreeSet<Requirement>,
    caller: &Caller,
) -> BTreeSet<Requirement> {
    let granted = requirements.iter().filter(|requirement| match requirement {
        Requirement::Scope(scope) => caller.grants(scope),
        Requirement::Action(_) => false,
    });
    granted.cloned().collect()
}

fn refusal(error: ArgumentError) -> Refusal {
    match error {
        ArgumentError::Invalid(why) => Refusal::invalid("INVALID_ARGUMENTS", why),
        ArgumentError::Restricted(why) => Refusal::deny(
            "ARGUMENT_NOT_ALLOWED",
            format!("{why} (the agent may not set it)"),
        ),
    }
}
