//! A tool as its server describes it in `tools/list`: [`Tool`].

use serde_json::{Map, Value, json};

use crate::schema::{REQUIRES_ACTION, REQUIRES_SCOPE, Requirement};

/// A tool as its server describes it.
///
/// ```
/// use atlasent_mcp::Tool;
///
/// let tool = Tool::from_json(&serde_json::json!({
///     "name": "read_file",
///     "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
/// }))?;
/// assert_eq!(tool.name(), "read_file");
/// assert!(tool.has_argument("path"));
/// # Ok::<(), atlasent_mcp::ToolError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    name: String,
    input_schema: Map<String, Value>,
    meta: Map<String, Value>,
    has_output_schema: bool,
}

impl Tool {
    /// Creates a tool from its name and the schema of its arguments.
    ///
    /// # Errors
    ///
    /// [`ToolError`] if the name is empty, or the schema is not an object.
    pub fn new(name: impl Into<String>, input_schema: Value) -> Result<Self, ToolError> {
        let name = name.into();
        if name.is_empty() {
            return Err(ToolError("a tool has no name".to_owned()));
        }
        let Value::Object(input_schema) = input_schema else {
            let name = crate::operation::shown(&name);
            return Err(ToolError(format!(
                "the `inputSchema` of the tool `{name}` is not an object"
            )));
        };
        Ok(Self {
            name,
            input_schema,
            meta: Map::new(),
            has_output_schema: false,
        })
    }

    /// Reads a tool of a `tools/list` result.
    ///
    /// # Errors
    ///
    /// [`ToolError`] if it has no `name`, or no object as its `inputSchema`.
    pub fn from_json(tool: &Value) -> Result<Self, ToolError> {
        let member = |name: &str| tool.get(name).cloned().unwrap_or_default();
        let name = member("name").as_str().unwrap_or_default().to_owned();
        let read = Self::new(name, member("inputSchema"))?;
        Ok(Self {
            meta: match member("_meta") {
                Value::Object(meta) => meta,
                _ => Map::new(),
            },
            has_output_schema: tool.get("outputSchema").is_some_and(Value::is_object),
            ..read
        })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the JSON Schema of the arguments.
    #[must_use]
    pub fn input_schema(&self) -> &Map<String, Value> {
        &self.input_schema
    }

    /// Returns a member of the tool's `_meta`.
    #[must_use]
    pub fn meta(&self, key: &str) -> Option<&Value> {
        self.meta.get(key)
    }

    /// Returns whether the tool declares the schema of its results. Clients check each structured
    /// result against it.
    #[must_use]
    pub fn has_output_schema(&self) -> bool {
        self.has_output_schema
    }

    /// Returns the tool with a requirement in the schema of an argument that it declares.
    pub(crate) fn with_requirement(mut self, argument: &str, requirement: &Requirement) -> Self {
        let properties = self.input_schema.get_mut("properties");
        let part = properties.and_then(|properties| properties.get_mut(argument));
        let (keyword, name) = match requirement {
            Requirement::Scope(scope) => (REQUIRES_SCOPE, scope),
            Requirement::Action(action) => (REQUIRES_ACTION, action),
        };
        match part {
            // The keyword is added in place, so that references to the schema stay valid.
            Some(Value::Object(part)) if !part.contains_key(keyword) => {
                part.insert(keyword.to_owned(), name.as_str().into());
            }
            // A schema can be `true`, which has no place for a keyword.
            Some(part) => *part = json!({"allOf": [part.take()], keyword: name}),
            None => {}
        }
        self
    }

    /// Returns whether the schema declares an argument of this name.
    #[must_use]
    pub fn has_argument(&self, name: &str) -> bool {
        let properties = self.input_schema.get("properties");
        properties.is_some_and(|properties| properties.get(name).is_some())
    }
}

/// A tool whose description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(pub(crate) String);
