//! How one tool or method is mapped.

use std::collections::BTreeMap;

use crate::schema::Requirement;

/// How a tool or a method is mapped to an action. A second call of a method replaces the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub(super) action: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) requirements: BTreeMap<String, Requirement>,
}

impl Rule {
    /// Creates a rule with the standard name of the action.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the action, which policies decide on.
    #[must_use]
    pub fn action(mut self, name: impl Into<String>) -> Self {
        self.action = Some(name.into());
        self
    }

    /// Sets the argument that names the resource. A call in which it is absent, or is no string, is
    /// refused.
    #[must_use]
    pub fn resource(mut self, argument: impl Into<String>) -> Self {
        self.resource = Some(argument.into());
        self
    }

    /// Sets the ATI scope that a token must grant for the operation, such as `docs:read` for
    /// `resources/read`. The default is `tool:<server>:<tool>` for a tool, and no scope for a
    /// method.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Hides an argument of a tool from callers who do not meet the requirement, as the keywords of
    /// [`schema`](crate::schema) do: for tools whose schema does not say so itself. A second call
    /// for the argument replaces the requirement.
    ///
    /// ```
    /// use atlasent_mcp::Rule;
    /// use atlasent_mcp::schema::Requirement;
    ///
    /// let rule = Rule::new().require("force", Requirement::Action("fs.delete_for_good".into()));
    /// # drop(rule);
    /// ```
    #[must_use]
    pub fn require(mut self, argument: impl Into<String>, requirement: Requirement) -> Self {
        self.requirements.insert(argument.into(), requirement);
        self
    }
}
