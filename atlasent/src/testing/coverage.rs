//! Compares the actions in the code with the actions that policies know.

use std::collections::BTreeSet;
use std::fmt;

use crate::coverage::{DeclaredRoute, PolicyOutline};
use crate::sites::{self, Site, Sites, sites};

/// Compares the sites of this binary with what the policies know.
///
/// Call it in a test of the binary. With the policies at hand, pass `&Policies` of
/// `atlasent-authority`; else the names of the actions. Add the routes of services with
/// [`routes`](Coverage::routes).
///
/// ```standalone_crate
/// use atlasent::{Error, protect, testing::coverage};
///
/// #[protect(action = "deploy.production", agent = "deploy-bot")]
/// fn deploy() -> Result<(), Error> {
///     Ok(())
/// }
///
/// # fn main() {
/// coverage(["deploy.production"]).assert_complete();
///
/// let coverage = coverage(["deploy.prodcution"]);
/// assert_eq!(coverage.actions_without_code(), ["deploy.prodcution"]);
/// assert_eq!(coverage.sites_without_policy().len(), 1);
/// # }
/// ```
pub fn coverage(policies: impl Into<PolicyOutline>) -> Coverage {
    Coverage {
        policies: policies.into(),
        sites: sites(),
        routes: Vec::new(),
    }
}

/// The sites and routes of a program beside what its policies know. `Display` prints the gaps
/// between the two, each with what to do.
#[derive(Clone, Debug)]
#[must_use = "call `assert_complete`"]
pub struct Coverage {
    policies: PolicyOutline,
    sites: Sites,
    routes: Vec<DeclaredRoute>,
}

impl Coverage {
    /// Adds the routes of a service, such as `&ProtectedRouter::table()` of `atlasent-axum` or
    /// `&ProtectedMethods::table()` of `atlasent-tower`. A second call adds further routes.
    pub fn routes(mut self, table: impl IntoIterator<Item = impl Into<DeclaredRoute>>) -> Self {
        self.routes.extend(table.into_iter().map(Into::into));
        self
    }

    /// Returns the actions that the policies know and that neither a site nor a route has, sorted.
    #[must_use]
    pub fn actions_without_code(&self) -> Vec<&str> {
        let of_sites = self.sites.iter().filter_map(Site::action);
        let of_routes = self
            .routes
            .iter()
            .filter_map(|route| route.action.as_deref());
        let in_code: BTreeSet<&str> = of_sites.chain(of_routes).collect();
        let known = self.policies.actions();
        known.filter(|action| !in_code.contains(action)).collect()
    }

    /// Returns the sites whose action no policy can allow. An authority denies each of their
    /// requests.
    #[must_use]
    pub fn sites_without_policy(&self) -> Vec<&Site> {
        let sites = self.sites.iter();
        sites
            .filter(|site| self.denial(site.action()).is_some())
            .collect()
    }

    /// Returns the routes whose action no policy can allow. An authority denies each of their
    /// requests.
    #[must_use]
    pub fn routes_without_policy(&self) -> Vec<&DeclaredRoute> {
        let routes = self.routes.iter();
        routes
            .filter(|route| self.denial(route.action.as_deref()).is_some())
            .collect()
    }

    /// Returns the policies that no request can match, each with its place, its id and the reason.
    #[must_use]
    pub fn unmatchable_policies(&self) -> &[String] {
        self.policies.unmatchable_policies()
    }

    /// Returns the sites whose action has no name before the program runs: see [`Site::action`].
    /// They are not compared.
    #[must_use]
    pub fn unnamed_sites(&self) -> Vec<&Site> {
        let sites = self.sites.iter();
        sites.filter(|site| site.action().is_none()).collect()
    }

    /// Returns the routes that are not public and name no action: the request decides, or scopes
    /// are enough. They are not compared.
    #[must_use]
    pub fn unnamed_routes(&self) -> Vec<&DeclaredRoute> {
        let routes = self.routes.iter();
        routes
            .filter(|route| !route.public && route.action.is_none())
            .collect()
    }

    /// Whether each action of the policies has code, a policy can allow each named action in the
    /// code, and each policy can match a request.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps().is_empty()
    }

    /// Panics with the gaps unless the coverage [is complete](Self::is_complete).
    #[track_caller]
    pub fn assert_complete(&self) {
        assert!(self.is_complete(), "{self}");
    }

    /// Returns a table of all sites and routes, with action, scope and location.
    #[must_use]
    pub fn table(&self) -> String {
        let routes = self.routes.iter().map(|route| {
            let action = match (&route.action, route.public) {
                (Some(action), _) => action,
                (None, true) => "(public)",
                (None, false) => "(by request)",
            };
            let scope = route.scope.as_deref().unwrap_or("-");
            let code = route_name(route);
            [action, &code, scope, "no", "route"].map(str::to_owned)
        });
        sites::table(self.sites.iter().map(Site::row).chain(routes))
    }

    fn denial(&self, action: Option<&str>) -> Option<&'static str> {
        self.policies.denial(action?)
    }

    /// Returns one line for each gap: where it is, what it is, what to do.
    fn gaps(&self) -> Vec<String> {
        let actions = self.actions_without_code().into_iter().map(|action| {
            let source = self.policies.source(action).unwrap_or("the policies");
            format!(
                "action `{action}`, named by {source}: no code performs it: add a `#[protect]` or a route for it, or \
                 remove it from the policies"
            )
        });
        let sites = self.sites.iter().filter_map(|site| {
            let (action, why) = (site.action()?, self.denial(site.action())?);
            let (file, line, path) = (site.file(), site.line(), site.path());
            Some(format!(
                "{file}:{line}: `{path}` performs `{action}`, and every request is denied: {why}"
            ))
        });
        let routes = self.routes.iter().filter_map(|route| {
            let (action, route_name) = (route.action.as_deref()?, route_name(route));
            let why = self.denial(Some(action))?;
            Some(format!(
                "route `{route_name}` performs `{action}`, and every request is denied: {why}"
            ))
        });
        let policies = self.unmatchable_policies().iter();
        let policies = policies.map(|policy| format!("{policy}: correct it, or remove it"));
        actions.chain(sites).chain(routes).chain(policies).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gaps = self.gaps();
        match gaps.len() {
            0 => writeln!(
                f,
                "each action has code and a policy, and each policy can match a request"
            )?,
            1 => writeln!(f, "1 gap between the code and the policies:")?,
            more => writeln!(f, "{more} gaps between the code and the policies:")?,
        }
        for gap in gaps {
            writeln!(f, "  {gap}")?;
        }
        let sites = self.unnamed_sites().into_iter().map(|site| {
            let (file, line, path) = (site.file(), site.line(), site.path());
            let type_name = site.type_name().unwrap_or("?");
            format!("{file}:{line}: `{path}` performs a `{type_name}`")
        });
        let routes = self.unnamed_routes().into_iter();
        let routes = routes.map(|route| format!("route `{}`", route_name(route)));
        let unnamed: Vec<String> = sites.chain(routes).collect();
        if !unnamed.is_empty() {
            writeln!(
                f,
                "not compared, since the action is not named before a request:"
            )?;
        }
        for unnamed in unnamed {
            writeln!(f, "  {unnamed}")?;
        }
        Ok(())
    }
}

fn route_name(route: &DeclaredRoute) -> String {
    format!("{} {}", route.method, route.path)
}
