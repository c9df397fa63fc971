//! A starter policy set for the tools of a server: [`Starter`].
//!
//! ```text
//! tools/list, prompts/list,
//! resources/templates/list ──► Starter ──► <server>.cedar      who may call what
//!                                     ├──► schema.cedarschema  the types of the arguments
//!                                     ├──► entities.json       the groups of agents
//!                                     └──► tests.json          what is allowed, held and denied
//! ```
//!
//! A server says of its own tools that they only read or that they destroy. These hints are read
//! here once, to sort the tools into the policies. They decide nothing later: a server that changes
//! them changes no policy.

mod completion;
mod policies;
mod schema;
mod tests_file;
mod types;

use std::collections::BTreeSet;

use atlasent::text::Escaped;
use serde_json::Value;

use crate::mapping::{Mapping, MappingError};
use crate::tool::{Tool, ToolError};
use completion::{prompt_arguments, template_variables};
use types::{Attribute, Untyped, arguments};

/// The longest name of an action.
const MAX_ACTION: usize = 256;
/// How much of a description is quoted in a comment, in characters.
const MAX_COMMENT: usize = 100;

/// A starter policy set for the tools of one server.
///
/// ```
/// use atlasent_mcp::starter::Starter;
/// use serde_json::json;
///
/// let tools = [json!({
///     "name": "read_file",
///     "annotations": {"readOnlyHint": true},
///     "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
/// })];
/// let starter = Starter::new("fs", &tools, &[])?;
/// let files = starter.files();
/// assert_eq!(files[0].name, "fs.cedar");
/// assert!(files[0].content.contains(r#"Action::"mcp.fs.read_file""#));
/// # Ok::<(), atlasent_mcp::starter::StarterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Starter {
    server: String,
    tools: Vec<StarterTool>,
    /// The names of the arguments of all prompts.
    prompt_arguments: BTreeSet<String>,
    /// The names of the variables of all resource templates.
    template_variables: BTreeSet<String>,
    warnings: Vec<String>,
}

/// A file of a starter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StarterFile {
    /// The name of the file.
    pub name: String,
    /// Its content.
    pub content: String,
}

/// Why no starter set can be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StarterError {
    /// The name of the server is invalid.
    #[error(transparent)]
    Server(#[from] MappingError),
    /// The description of a tool cannot be used.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The server has no tools.
    #[error("the server lists no tools, so no policy can be written for them")]
    NoTools,
}

#[derive(Clone, Debug)]
struct StarterTool {
    /// The name of the action.
    action: String,
    /// The beginning of the description, on one line.
    comment: String,
    effect: Effect,
    arguments: Vec<Attribute>,
    untyped: Vec<Untyped>,
}

/// What a server says of its tool. Without hints, a tool may destroy (the protocol's defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Reads,
    Writes,
    Destroys,
}

impl Starter {
    /// Reads the `tools` of `tools/list` and the `prompts` of `prompts/list` of a server.
    ///
    /// # Errors
    ///
    /// [`StarterError`] if the name of the server is invalid, if a tool has no name or no input
    /// schema, or if there are no tools.
    pub fn new(
        server: impl Into<String>,
        tools: &[Value],
        prompts: &[Value],
    ) -> Result<Self, StarterError> {
        let server = server.into();
        let mapping = Mapping::standard(&server)?;
        let mut starter = Self {
            server,
            tools: Vec::new(),
            prompt_arguments: prompt_arguments(prompts),
            template_variables: BTreeSet::new(),
            warnings: Vec::new(),
        };
        for tool in tools {
            let read = Tool::from_json(tool)?;
            starter.add(&mapping, tool, &read);
        }
        match starter.tools.is_empty() {
            true => Err(StarterError::NoTools),
            false => Ok(starter),
        }
    }

    /// Reads the `resourceTemplates` of `resources/templates/list` of the server. Without them, a
    /// client that completes a variable of a template is denied once it sends the other variables.
    #[must_use]
    pub fn with_resource_templates(mut self, templates: &[Value]) -> Self {
        self.template_variables = template_variables(templates);
        self
    }

    fn add(&mut self, mapping: &Mapping, description: &Value, tool: &Tool) {
        let name = Escaped::new(tool.name()).to_string();
        let action = mapping.tool_action(tool.name());
        if action.chars().count() > MAX_ACTION {
            let text =
                format!("`{name}`: its name is too long for an action, so calls are refused");
            return self.warnings.push(text);
        }
        if self.tools.iter().any(|known| known.action == action) {
            let text = format!("`{name}`: the server lists it twice, and the first is used");
            return self.warnings.push(text);
        }
        let (mut arguments, mut untyped) = arguments(tool.input_schema());
        arguments.retain(|argument| {
            let is_reserved = argument.name == "actors";
            if is_reserved {
                untyped.push(Untyped {
                    name: argument.name.clone(),
                    is_required: argument.is_required,
                    why: "the key is reserved for the actors of a delegated token",
                });
            }
            !is_reserved
        });
        for one in &untyped {
            let argument = Escaped::new(&one.name);
            self.warnings.push(format!(
                "`{name}`: the argument `{argument}` has no type ({}), so calls with it are denied",
                one.why
            ));
        }
        self.tools.push(StarterTool {
            action,
            comment: comment(description),
            effect: Effect::new(description),
            arguments,
            untyped,
        });
    }

    /// Returns the files of the set: the policies, the schema, the entities and the tests.
    #[must_use]
    pub fn files(&self) -> Vec<StarterFile> {
        let file = |name: &str, content: String| StarterFile {
            name: name.to_owned(),
            content,
        };
        vec![
            file(&format!("{}.cedar", self.server), policies::text(self)),
            file("schema.cedarschema", schema::text(self)),
            file("entities.json", policies::ENTITIES.to_owned()),
            file("tests.json", tests_file::text(self)),
        ]
    }

    /// Returns what the set does not cover, for people: tools and arguments that are always
    /// refused.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn with_effect(&self, effect: Effect) -> Vec<&StarterTool> {
        let tools = self.tools.iter();
        tools.filter(|tool| tool.effect == effect).collect()
    }

    /// Returns the names of the arguments and variables that a client can let the server complete,
    /// sorted.
    fn completed_names(&self) -> impl Iterator<Item = &String> {
        self.prompt_arguments.union(&self.template_variables)
    }

    fn method(&self, method: &str) -> String {
        format!("mcp.{}:{method}", self.server)
    }
}

impl Effect {
    fn new(description: &Value) -> Self {
        let hint = |name: &str| description.get("annotations")?.get(name)?.as_bool();
        match (hint("readOnlyHint"), hint("destructiveHint")) {
            (Some(true), _) => Self::Reads,
            (_, Some(false)) => Self::Writes,
            _ => Self::Destroys,
        }
    }
}

/// Returns the beginning of a tool's description on one line. The text comes from the server, so
/// nothing in it can end the comment that quotes it.
fn comment(description: &Value) -> String {
    let text = description.get("description").and_then(Value::as_str);
    let text = text.unwrap_or_default();
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(MAX_COMMENT).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    Escaped::new(&short).to_string()
}
