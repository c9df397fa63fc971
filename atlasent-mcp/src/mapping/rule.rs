//! How one tool or method is mapped.

/// How a tool or a method is mapped to an action. A second call of a method replaces the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub(super) action: Option<String>,
    pub(super) resource: Option<String>,
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
}
