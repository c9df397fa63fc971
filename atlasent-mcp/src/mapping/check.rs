//! Checks the rules of a mapping: each by itself, and then all against the tools of the server.

use atlasent::AnyAction;

use super::{Mapping, Rule, is_scope};
use crate::operation::{Operation, shown};
use crate::tool::Tool;

/// A mapping that does not fit its server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The name of a server is unusable.
    #[error("`{0}` is no name of a server: use 1 to 64 ASCII letters, digits, `-` and `_`")]
    ServerName(String),
    /// A rule names a tool that the server does not have.
    #[error(
        "the mapping names the tool `{0}`, which the server does not have: remove the rule or correct the name"
    )]
    NoTool(String),
    /// A rule is about an argument that the tool does not have.
    #[error(
        "the mapping names the argument `{argument}` of the tool `{tool}`, which its schema does not declare"
    )]
    NoArgument {
        /// The tool.
        tool: String,
        /// The argument.
        argument: String,
    },
    /// An action of the mapping has no valid name.
    #[error("`{0}` is mapped to an action whose name is empty or longer than 256 characters")]
    ActionName(String),
    /// A rule sets a scope that no token can grant.
    #[error(
        "the scope of `{0}` is empty or has a character that scopes cannot have: use printable ASCII without spaces"
    )]
    Scope(String),
    /// Two tools of a server have the same name.
    #[error("the server has two tools with the name `{0}`")]
    RepeatedTool(String),
    /// A rule maps a method that is mapped otherwise.
    #[error(
        "`{0}` is no method that a rule can map: tools are mapped by name, and lifecycle messages and lists need no permit"
    )]
    Method(String),
    /// An annotation of a tool is unusable.
    #[error("the annotation `{key}` of the tool `{tool}` is not a string")]
    Annotation {
        /// The tool.
        tool: String,
        /// The member of `_meta`.
        key: &'static str,
    },
}

impl Mapping {
    /// Checks the mapping against all tools of the server. Call it at start-up: a rule for a tool
    /// that does not exist protects nothing.
    ///
    /// # Errors
    ///
    /// [`MappingError`] for the first rule that does not fit.
    pub fn check(&self, tools: &[Tool]) -> Result<(), MappingError> {
        let mut names: Vec<&str> = tools.iter().map(Tool::name).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [one, other] = pair
                && one == other
            {
                return Err(MappingError::RepeatedTool(shown(one)));
            }
        }
        for (name, rule) in &self.tools {
            let Some(tool) = tools.iter().find(|tool| tool.name() == name) else {
                return Err(MappingError::NoTool(shown(name)));
            };
            let arguments = rule.resource.iter().chain(rule.requirements.keys());
            if let Some(argument) = arguments
                .into_iter()
                .find(|argument| !tool.has_argument(argument))
            {
                return Err(MappingError::NoArgument {
                    tool: shown(name),
                    argument: shown(argument),
                });
            }
            self.check_tool_rule(name, rule)?;
        }
        for (method, rule) in &self.methods {
            self.check_method_rule(method, rule)?;
        }
        Ok(())
    }

    /// Checks the action and the scope of a rule for a tool. It needs no list of tools, so a server
    /// that never lists its tools does not put the error off.
    ///
    /// # Errors
    ///
    /// [`MappingError::Scope`] and [`MappingError::ActionName`].
    pub fn check_tool_rule(&self, tool: &str, rule: &Rule) -> Result<(), MappingError> {
        check_scope(tool, rule)?;
        let action = rule.action.clone();
        check_action(tool, action.unwrap_or_else(|| self.tool_action(tool)))
    }

    /// Checks that a rule can map a method, and the action and the scope of the rule. A rule for a
    /// message that needs no permit would restrict nothing.
    ///
    /// ```
    /// use atlasent_mcp::{Mapping, Rule};
    ///
    /// let mapping = Mapping::standard("fs")?;
    /// let rule = Rule::new().scope("docs:read");
    /// assert!(mapping.check_method_rule("resources/read", &rule).is_ok());
    /// // The list shows what the caller may read, and needs no permit itself.
    /// assert!(mapping.check_method_rule("resources/list", &rule).is_err());
    /// # Ok::<(), atlasent_mcp::MappingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MappingError::Method`], [`MappingError::Scope`] and [`MappingError::ActionName`].
    pub fn check_method_rule(&self, method: &str, rule: &Rule) -> Result<(), MappingError> {
        let is_mapped_otherwise = method == "tools/call"
            || Operation::parse(method, None).is_ok_and(|operation| {
                // It needs a permit if its `params` name resources.
                operation.is_open() && method != "subscriptions/listen"
            });
        if is_mapped_otherwise {
            return Err(MappingError::Method(shown(method)));
        }
        check_scope(method, rule)?;
        let action = rule.action.clone();
        check_action(method, action.unwrap_or_else(|| self.method_action(method)))
    }
}

fn check_scope(of: &str, rule: &Rule) -> Result<(), MappingError> {
    match rule.scope.as_deref().is_none_or(is_scope) {
        true => Ok(()),
        false => Err(MappingError::Scope(shown(of))),
    }
}

fn check_action(of: &str, action: String) -> Result<(), MappingError> {
    match AnyAction::new(action) {
        Ok(_) => Ok(()),
        Err(_) => Err(MappingError::ActionName(shown(of))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Requirement;

    fn tools() -> [Tool; 2] {
        let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
        ["read", "write"].map(|name| Tool::new(name, schema.clone()).unwrap())
    }

    fn check(change: impl FnOnce(Mapping) -> Mapping) -> Result<(), MappingError> {
        change(Mapping::standard("fs").unwrap()).check(&tools())
    }

    #[test]
    fn a_rule_that_fits_no_tool_fails_at_start_up() {
        assert_eq!(check(|mapping| mapping), Ok(()));
        assert_eq!(
            check(|m| m.tool("read", Rule::new().resource("path"))),
            Ok(())
        );
        for (rule, name) in [
            (Rule::new(), "raed"),
            (Rule::new(), "Read"),
            (Rule::new().resource("file"), "read"),
            (
                Rule::new().require("force", Requirement::Scope("s".to_owned())),
                "read",
            ),
            (Rule::new().action(""), "read"),
            (Rule::new().action("x".repeat(257)), "read"),
            (Rule::new().scope(""), "read"),
            (Rule::new().scope("two scopes"), "read"),
        ] {
            assert!(
                check(|m| m.tool(name, rule.clone())).is_err(),
                "{name} {rule:?}"
            );
        }
        let error = check(|m| m.tool("raed", Rule::new())).unwrap_err();
        assert!(error.to_string().contains("`raed`"), "{error}");
    }

    #[test]
    fn a_rule_for_a_method_that_is_mapped_otherwise_fails() {
        let mapping = Mapping::standard("fs").unwrap();
        for method in [
            "tools/call",
            "tools/list",
            "resources/list",
            "resources/unsubscribe",
            "initialize",
            "notifications/progress",
        ] {
            assert!(
                check(|m| m.method(method, Rule::new())).is_err(),
                "{method}"
            );
            let alone = mapping.check_method_rule(method, &Rule::new());
            assert_eq!(alone, Err(MappingError::Method(method.to_owned())));
        }
        for method in ["resources/read", "acme/deploy", "subscriptions/listen"] {
            assert_eq!(check(|m| m.method(method, Rule::new())), Ok(()), "{method}");
            let unusable = Rule::new().scope("a\"b");
            assert!(check(|m| m.method(method, unusable)).is_err(), "{method}");
        }
    }

    #[test]
    fn the_action_and_the_scope_of_a_rule_are_checked_without_any_tool() {
        let mapping = Mapping::standard("fs").unwrap();
        for (rule, error) in [
            (Rule::new(), None),
            (
                Rule::new().action(""),
                Some(MappingError::ActionName("acme/deploy".to_owned())),
            ),
            (
                Rule::new().action("x".repeat(257)),
                Some(MappingError::ActionName("acme/deploy".to_owned())),
            ),
            (
                Rule::new().scope("two scopes"),
                Some(MappingError::Scope("acme/deploy".to_owned())),
            ),
        ] {
            let (tool, method) = (
                mapping.check_tool_rule("acme/deploy", &rule),
                mapping.check_method_rule("acme/deploy", &rule),
            );
            assert_eq!((tool.err(), method.err()), (error.clone(), error));
        }
    }

    #[test]
    fn two_tools_of_one_name_are_no_tool_that_can_be_decided_on() {
        let [read, write] = tools();
        let tools = [read.clone(), write, read];
        let error = Mapping::standard("fs").unwrap().check(&tools).unwrap_err();
        assert_eq!(error, MappingError::RepeatedTool("read".to_owned()));
    }
}
