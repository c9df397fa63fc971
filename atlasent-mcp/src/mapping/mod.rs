//! Which action an operation is: [`Mapping`].
//!
//! | operation | action | resource |
//! |---|---|---|
//! | `tools/call` of `read_file` | `mcp.fs.read_file` | the named argument, if one is set |
//! | `resources/read` | `mcp.fs:resources/read` | the URI |
//! | `prompts/get` of `review` | `mcp.fs:prompts/get` | `review` |
//! | `tasks/result` | `mcp.fs:tasks/result` | the id of the task |
//! | `sampling/createMessage` | `mcp.fs:sampling/createMessage` | |
//!
//! `fs` is the name of the server. The name of a server has no dot and no colon, so a tool can have
//! no name that makes it the action of another method or of another server's tool.

mod check;
mod rule;

use std::collections::BTreeMap;
#[cfg(feature = "guard")]
use std::collections::BTreeSet;

pub use check::MappingError;
pub use rule::Rule;

use crate::operation::{Kind, Operation};
use crate::tool::Tool;

/// The member of a tool's `_meta` that names its action, for [`Mapping::annotated_tools`].
pub const ACTION_ANNOTATION: &str = "atlasent/action";
/// The member of a tool's `_meta` that names the argument with its resource.
pub const RESOURCE_ANNOTATION: &str = "atlasent/resource";

/// Which action each operation on a server is. What is not mapped is refused.
///
/// ```
/// use atlasent_mcp::{Mapping, Rule};
///
/// // Every tool and every known method, by their standard names.
/// let all = Mapping::standard("fs")?.tool("read_file", Rule::new().resource("path"));
/// // Two tools, and nothing else.
/// let two = Mapping::closed("bank")?
///     .tool("balance", Rule::new())
///     .tool("pay", Rule::new().action("wire.transfer").resource("account"));
/// # Ok::<(), atlasent_mcp::MappingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mapping {
    server: String,
    tools: BTreeMap<String, Rule>,
    methods: BTreeMap<String, Rule>,
    is_standard: bool,
}

impl Mapping {
    /// Maps every tool and every known method to the action of its standard name. The authority's
    /// policies decide on each.
    ///
    /// Unknown methods are not mapped: name those that a server adds with [`method`](Self::method).
    ///
    /// # Errors
    ///
    /// [`MappingError`] if the name of the server is not 1 to 64 ASCII letters, digits, `-` or `_`.
    pub fn standard(server: impl Into<String>) -> Result<Self, MappingError> {
        Self::new(server.into(), true)
    }

    /// Maps nothing: [`tool`](Self::tool) and [`method`](Self::method) name all that is mapped.
    ///
    /// # Errors
    ///
    /// As [`standard`](Self::standard).
    pub fn closed(server: impl Into<String>) -> Result<Self, MappingError> {
        Self::new(server.into(), false)
    }

    fn new(server: String, is_standard: bool) -> Result<Self, MappingError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&server.len()) || !server.bytes().all(is_plain) {
            return Err(MappingError::ServerName(crate::operation::shown(&server)));
        }
        Ok(Self {
            server,
            tools: BTreeMap::new(),
            methods: BTreeMap::new(),
            is_standard,
        })
    }

    /// Maps a tool by a rule. A second call for the tool replaces the rule.
    #[must_use]
    pub fn tool(mut self, name: impl Into<String>, rule: Rule) -> Self {
        self.tools.insert(name.into(), rule);
        self
    }

    /// Maps a method other than `tools/call` by a rule, also one that the protocol does not know. A
    /// second call for the method replaces the rule.
    #[must_use]
    pub fn method(mut self, name: impl Into<String>, rule: Rule) -> Self {
        self.methods.insert(name.into(), rule);
        self
    }

    /// Maps each tool whose `_meta` names its action or resource (`atlasent/action`,
    /// `atlasent/resource`). Tools that [`tool`](Self::tool) has mapped keep their rule.
    ///
    /// Pass the tools of a server in this process only. A server that names its own actions chooses
    /// the policies that it is under.
    ///
    /// # Errors
    ///
    /// [`MappingError`] if an annotation is not a string.
    pub fn annotated_tools(mut self, tools: &[Tool]) -> Result<Self, MappingError> {
        for tool in tools {
            let read = |key: &'static str| match tool.meta(key) {
                None => Ok(None),
                Some(value) => match value.as_str() {
                    Some(text) => Ok(Some(text.to_owned())),
                    None => Err(MappingError::Annotation {
                        tool: crate::operation::shown(tool.name()),
                        key,
                    }),
                },
            };
            let (action, resource) = (read(ACTION_ANNOTATION)?, read(RESOURCE_ANNOTATION)?);
            if action.is_some() || resource.is_some() {
                let rule = Rule {
                    action,
                    resource,
                    ..Rule::new()
                };
                self.tools.entry(tool.name().to_owned()).or_insert(rule);
            }
        }
        Ok(self)
    }

    /// Returns the name of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns the action of an operation, or `None` if the operation is not mapped.
    ///
    /// # Errors
    ///
    /// [`UnmappedResource`] if the argument that names the resource is absent or is no string.
    pub(crate) fn action(
        &self,
        operation: &Operation,
    ) -> Result<Option<MappedAction>, UnmappedResource> {
        let Some(mut action) = self.list_action(operation) else {
            return Ok(None);
        };
        if let Some(argument) = self.rule(operation).and_then(|rule| rule.resource.as_ref()) {
            action.resource = Some(resource_argument(operation, argument)?);
        }
        Ok(Some(action))
    }

    /// Returns the action of an operation whose arguments are not known, without the resource that
    /// an argument names.
    pub(crate) fn list_action(&self, operation: &Operation) -> Option<MappedAction> {
        let target = operation.target();
        let is_tool = operation.kind() == Kind::Tool;
        let rule = self.rule(operation);
        if rule.is_none() && (!self.is_standard || operation.kind() == Kind::Unknown) {
            return None;
        }
        let name = rule.and_then(|rule| rule.action.clone());
        let name = name.unwrap_or_else(|| match is_tool {
            true => self.tool_action(target.unwrap_or_default()),
            false => self.method_action(operation.method()),
        });
        let has_argument = rule.is_some_and(|rule| rule.resource.is_some());
        let resource = target
            .filter(|_| !is_tool && !has_argument)
            .map(str::to_owned);
        Some(MappedAction { name, resource })
    }

    /// Returns whether an argument names the resource of an operation.
    pub(crate) fn has_resource_argument(&self, operation: &Operation) -> bool {
        self.rule(operation)
            .is_some_and(|rule| rule.resource.is_some())
    }

    fn rule(&self, operation: &Operation) -> Option<&Rule> {
        match operation.kind() {
            Kind::Tool => self.tools.get(operation.target()?),
            _ => self.methods.get(operation.method()),
        }
    }

    /// Returns the tool with what its rule requires of callers in its schema.
    pub(crate) fn restrict(&self, tool: Tool) -> Tool {
        let rule = self.tools.get(tool.name());
        let requirements = rule.into_iter().flat_map(|rule| &rule.requirements);
        requirements.fold(tool, |tool, (argument, requirement)| {
            tool.with_requirement(argument, requirement)
        })
    }

    /// Returns the scope that a token must grant for an operation: that of its rule, or
    /// `tool:<server>:<tool>` for a tool. Other operations without a rule need no scope.
    pub(crate) fn scope(&self, operation: &Operation) -> Option<String> {
        if let Some(scope) = self.rule(operation).and_then(|rule| rule.scope.as_ref()) {
            return Some(scope.clone());
        }
        let tool = operation
            .target()
            .filter(|_| operation.kind() == Kind::Tool)?;
        Some(self.tool_scope(tool))
    }

    /// Returns the scopes that the operations of the mapping need. A pattern covers the tools
    /// without a rule.
    #[cfg(feature = "guard")]
    pub(crate) fn scopes(&self) -> BTreeSet<String> {
        let tools = self.tools.iter().map(|(tool, rule)| match &rule.scope {
            Some(scope) => scope.clone(),
            None => self.tool_scope(tool),
        });
        let methods = self.methods.values().filter_map(|rule| rule.scope.clone());
        let all_tools = self.is_standard.then(|| self.tool_scope("*"));
        tools.chain(methods).chain(all_tools).collect()
    }

    fn tool_scope(&self, tool: &str) -> String {
        format!("tool:{}:{tool}", self.server)
    }

    pub(crate) fn tool_action(&self, tool: &str) -> String {
        format!("mcp.{}.{tool}", self.server)
    }

    fn method_action(&self, method: &str) -> String {
        format!("mcp.{}:{method}", self.server)
    }
}

/// Returns whether a text can be a scope: one or more printable ASCII characters other than the
/// space, `"` and `\` (RFC 6749, section 3.3).
#[must_use]
pub fn is_scope(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.bytes().all(is_plain)
}

/// The name and the resource of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MappedAction {
    pub(crate) name: String,
    pub(crate) resource: Option<String>,
}

/// A call without the argument that names its resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnmappedResource {
    pub(crate) argument: String,
}

fn resource_argument(operation: &Operation, argument: &str) -> Result<String, UnmappedResource> {
    let value = operation.context().get(argument);
    let text = value.and_then(serde_json::Value::as_str);
    text.map(str::to_owned).ok_or_else(|| UnmappedResource {
        argument: argument.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn call(tool: &str, arguments: &str) -> Operation {
        Operation::tool(tool, arguments).unwrap()
    }

    fn name(mapping: &Mapping, operation: &Operation) -> Option<String> {
        mapping.action(operation).unwrap().map(|action| action.name)
    }

    #[test]
    fn a_closed_mapping_knows_what_it_names_and_nothing_else() {
        let mapping = Mapping::closed("bank")
            .unwrap()
            .tool("pay", Rule::new().action("wire.transfer"))
            .tool("balance", Rule::new())
            .method("acme/deploy", Rule::new());
        assert_eq!(
            name(&mapping, &call("pay", "{}")).as_deref(),
            Some("wire.transfer")
        );
        assert_eq!(
            name(&mapping, &call("balance", "{}")).as_deref(),
            Some("mcp.bank.balance")
        );
        assert_eq!(name(&mapping, &call("Pay", "{}")), None);
        for (method, action) in [
            ("acme/deploy", Some("mcp.bank:acme/deploy")),
            ("acme/other", None),
            ("roots/list", None),
        ] {
            let operation = Operation::parse(method, None).unwrap();
            assert_eq!(name(&mapping, &operation).as_deref(), action);
        }
    }

    #[test]
    fn a_standard_mapping_knows_the_protocol_and_no_other_method() {
        let mapping = Mapping::standard("fs").unwrap();
        let known = Operation::parse("roots/list", None).unwrap();
        assert_eq!(name(&mapping, &known).as_deref(), Some("mcp.fs:roots/list"));
        let unknown = Operation::parse("acme/deploy", None).unwrap();
        assert_eq!(name(&mapping, &unknown), None);
    }

    #[test]
    fn no_name_of_a_tool_makes_it_another_action() {
        let mapping = Mapping::standard("fs").unwrap();
        let read = RawValue::from_string(r#"{"uri":"u"}"#.to_owned()).unwrap();
        let read = Operation::parse("resources/read", Some(&read)).unwrap();
        let read = name(&mapping, &read).unwrap();
        for tool in ["resources/read", ":resources/read", "fs:resources/read"] {
            assert_ne!(name(&mapping, &call(tool, "{}")).unwrap(), read);
        }
        for server in ["", "a.b", "a:b", "a b", "ü", &"x".repeat(65)] {
            assert!(Mapping::standard(server).is_err(), "{server}");
        }
    }

    #[test]
    fn a_resource_is_the_text_of_its_argument() {
        let mapping = Mapping::standard("fs")
            .unwrap()
            .tool("read", Rule::new().resource("path"));
        let action = mapping.action(&call("read", r#"{"path":"/a"}"#)).unwrap();
        assert_eq!(action.unwrap().resource.as_deref(), Some("/a"));
        for arguments in [
            "{}",
            r#"{"path":null}"#,
            r#"{"path":["/a"]}"#,
            r#"{"Path":"/a"}"#,
        ] {
            assert!(
                mapping.action(&call("read", arguments)).is_err(),
                "{arguments}"
            );
        }
    }

    #[test]
    fn a_rule_sets_the_scope_of_an_operation_and_tools_have_one_of_their_own() {
        let mapping = Mapping::standard("fs")
            .unwrap()
            .tool("read", Rule::new())
            .tool("write", Rule::new().scope("fs:write"))
            .method("prompts/get", Rule::new().scope("fs:prompts"));
        let prompt = RawValue::from_string(r#"{"name":"review"}"#.to_owned()).unwrap();
        let prompt = Operation::parse("prompts/get", Some(&prompt)).unwrap();
        let roots = Operation::parse("roots/list", None).unwrap();
        for (operation, scope) in [
            (call("read", "{}"), Some("tool:fs:read")),
            (call("write", "{}"), Some("fs:write")),
            (call("other", "{}"), Some("tool:fs:other")),
            (prompt, Some("fs:prompts")),
            (roots, None),
        ] {
            assert_eq!(mapping.scope(&operation).as_deref(), scope, "{operation:?}");
        }
    }

    #[test]
    fn a_scope_is_one_word_that_a_header_can_hold() {
        for scope in ["a", "tool:fs:*", "docs:read", "!#~"] {
            assert!(is_scope(scope), "{scope}");
        }
        for text in ["", "a b", "a\"", "a\\", "a\n", "\u{e9}", "a\u{7f}"] {
            assert!(!is_scope(text), "{text:?}");
        }
    }

    #[test]
    fn annotations_map_the_tools_that_no_table_maps() {
        let tool = |name: &str, meta: serde_json::Value| {
            let json = serde_json::json!({"name": name, "inputSchema": {}, "_meta": meta});
            Tool::from_json(&json).unwrap()
        };
        let annotated = serde_json::json!({"atlasent/action": "pay", "atlasent/resource": "to"});
        let tools = [
            tool("a", annotated.clone()),
            tool("b", annotated),
            tool("c", serde_json::json!({})),
        ];
        let mapping = Mapping::closed("bank").unwrap().tool("b", Rule::new());
        let mapping = mapping.annotated_tools(&tools).unwrap();
        let action = mapping
            .action(&call("a", r#"{"to":"x"}"#))
            .unwrap()
            .unwrap();
        assert_eq!(
            (&*action.name, action.resource.as_deref()),
            ("pay", Some("x"))
        );
        assert_eq!(
            name(&mapping, &call("b", "{}")).as_deref(),
            Some("mcp.bank.b")
        );
        assert_eq!(name(&mapping, &call("c", "{}")), None);
        let bad = tool("d", serde_json::json!({"atlasent/action": 7}));
        assert!(
            Mapping::closed("bank")
                .unwrap()
                .annotated_tools(&[bad])
                .is_err()
        );
    }
}
