//! What `testing::coverage` compares with the sites of a program: what policies know of actions
//! ([`PolicyOutline`]), and the routes of services ([`DeclaredRoute`]).
//!
//! `atlasent-authority` turns `Policies` into an outline, `atlasent-tower` turns a `RouteTable`
//! into routes.

use std::collections::{BTreeMap, BTreeSet};

/// The actions that a policy set knows, and the policies in it that no request can match.
///
/// `&Policies` of `atlasent-authority` converts into an outline. For policies that the program
/// cannot read, such as those of a remote authority, a list of action names does, too:
///
/// ```
/// use atlasent::coverage::PolicyOutline;
///
/// let names = PolicyOutline::from(["deploy.production", "deploy.staging"]);
/// let read: PolicyOutline = "deploy.production\ndeploy.staging".lines().collect();
/// # let _ = (names, read);
/// ```
#[derive(Clone, Debug, Default)]
pub struct PolicyOutline {
    /// The actions that code should perform, with where the policies name them.
    actions: BTreeMap<String, String>,
    permitted: BTreeSet<String>,
    permits_any_action: bool,
    unmatchable: Vec<String>,
}

impl PolicyOutline {
    /// Creates an outline without actions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action that code should perform. `source` says where the policies name it, such as
    /// ``policy `ops` at ops.cedar:3:1``. The first call for an action counts.
    #[must_use]
    pub fn action(mut self, name: &str, source: &str) -> Self {
        let source = || source.to_owned();
        self.actions.entry(name.to_owned()).or_insert_with(source);
        self
    }

    /// Records that a `permit` can allow an action.
    #[must_use]
    pub fn permit(mut self, action: &str) -> Self {
        self.permitted.insert(action.to_owned());
        self
    }

    /// Records that a `permit` can allow any action, also one that no policy names.
    #[must_use]
    pub fn permit_any_action(mut self) -> Self {
        self.permits_any_action = true;
        self
    }

    /// Adds a policy that no request can match: its place, its id and the reason.
    #[must_use]
    pub fn unmatchable(mut self, policy: impl Into<String>) -> Self {
        self.unmatchable.push(policy.into());
        self
    }

    /// Returns the names of the actions, sorted.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }

    /// Returns why every request for an action is denied, or `None` if a policy can allow it.
    #[must_use]
    pub fn denial(&self, action: &str) -> Option<&'static str> {
        if self.permits_any_action || self.permitted.contains(action) {
            None
        } else if self.actions.contains_key(action) {
            Some("no `permit` can allow it: write one")
        } else {
            Some("the policies do not know it: correct the name, or write a policy for it")
        }
    }

    /// Returns where the policies name an action.
    #[must_use]
    pub fn source(&self, action: &str) -> Option<&str> {
        self.actions.get(action).map(String::as_str)
    }

    /// Returns the policies that no request can match, each with its place, its id and the reason.
    #[must_use]
    pub fn unmatchable_policies(&self) -> &[String] {
        &self.unmatchable
    }
}

/// Collects the names of actions, each of which a `permit` can allow.
impl<S: AsRef<str>> FromIterator<S> for PolicyOutline {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        names.into_iter().fold(Self::new(), |outline, name| {
            let name = name.as_ref();
            outline.action(name, "the policies").permit(name)
        })
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for PolicyOutline {
    fn from(names: [S; N]) -> Self {
        names.into_iter().collect()
    }
}

impl<S: AsRef<str>> From<Vec<S>> for PolicyOutline {
    fn from(names: Vec<S>) -> Self {
        names.into_iter().collect()
    }
}

impl<S: AsRef<str>> From<&[S]> for PolicyOutline {
    fn from(names: &[S]) -> Self {
        names.iter().collect()
    }
}

/// A route of a service, with what it requires.
///
/// The routes in a `RouteTable` of `atlasent-tower` convert into it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeclaredRoute {
    /// The HTTP method, or `gRPC`.
    pub method: String,
    /// The declared path.
    pub path: String,
    /// Whether the route requires nothing.
    pub public: bool,
    /// The action that needs a permit. `None` if the route requires no permit, or if the action
    /// depends on the request.
    pub action: Option<String>,
    /// The required ATI scopes, separated by spaces.
    pub scope: Option<String>,
}

impl DeclaredRoute {
    /// Creates a route that is not public, without a named action and without scopes.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            public: false,
            action: None,
            scope: None,
        }
    }
}
