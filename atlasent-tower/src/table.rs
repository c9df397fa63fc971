//! Lists the routes of a service and what they require.

use std::fmt;

use atlasent::coverage::DeclaredRoute;
use serde::Serialize;

use crate::Access;

/// A route in a [`RouteTable`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// The HTTP method, or `gRPC` for a gRPC method.
    pub method: String,
    /// The declared path.
    pub path: String,
    /// Whether the route requires nothing.
    pub public: bool,
    /// The action that needs a permit. `None` if the action depends on the request, or the route
    /// requires only scopes.
    pub action: Option<String>,
    /// The required ATI scopes, separated by spaces (RFC 6749 §3.3).
    pub scope: Option<String>,
}

impl Route {
    /// Creates the route of this method and path, with this access.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>, access: &Access) -> Self {
        let scopes: Vec<&str> = access.required_scopes().collect();
        Self {
            method: method.into(),
            path: path.into(),
            public: access.is_public(),
            action: access.action_name().map(str::to_owned),
            scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
        }
    }
}

/// The routes of a service, ordered by path and method. `Display` prints a table, which a test can
/// compare:
///
/// ```text
/// METHOD  PATH            ACTION                 SCOPE
/// GET     /health         (public)
/// HEAD    /health         (public)
/// GET     /patients/{id}  read_patient_record    tool:ehr:read
/// HEAD    /patients/{id}  read_patient_record    tool:ehr:read
/// PUT     /patients/{id}  modify_patient_record  tool:ehr:write
/// ```
///
/// Requests to other routes are refused.
///
/// A test compares the actions with the policies: `atlasent::testing::coverage(&policies)
/// .routes(&table).assert_complete()`. `Serialize` writes an array for tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteTable(Vec<Route>);

impl RouteTable {
    /// Returns the routes, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.0.iter()
    }

    /// Returns the number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the table has no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a RouteTable {
    type Item = &'a Route;
    type IntoIter = std::slice::Iter<'a, Route>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<&Route> for DeclaredRoute {
    fn from(route: &Route) -> Self {
        let mut declared = Self::new(&*route.method, &*route.path);
        declared.public = route.public;
        declared.action.clone_from(&route.action);
        declared.scope.clone_from(&route.scope);
        declared
    }
}

impl FromIterator<Route> for RouteTable {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let mut routes: Vec<Route> = routes.into_iter().collect();
        routes.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
        Self(routes)
    }
}

impl fmt::Display for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["METHOD", "PATH", "ACTION", "SCOPE"]];
        rows.extend(self.0.iter().map(|route| {
            let action = match (&route.action, route.public) {
                (_, true) => "(public)",
                (Some(action), false) => action,
                (None, false) => "(by request)",
            };
            let scope = route.scope.as_deref().unwrap_or_default();
            [&route.method, &route.path, action, scope]
        }));
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let (method_width, path_width, action_width) = (width(0), width(1), width(2));
        for [method, path, action, scope] in &rows {
            let line = format!(
                "{method:method_width$}  {path:path_width$}  {action:action_width$}  {scope}"
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_prints_what_each_route_requires() {
        let table: RouteTable = [
            Route::new(
                "PUT",
                "/patients/{id}",
                &Access::action("modify_patient_record").scope("tool:ehr:write"),
            ),
            Route::new("GET", "/health", &Access::public()),
            Route::new(
                "GET",
                "/patients/{id}",
                &Access::in_handler("read_patient_record"),
            ),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            table.to_string(),
            "METHOD  PATH            ACTION                 SCOPE\n\
             GET     /health         (public)\n\
             GET     /patients/{id}  read_patient_record\n\
             PUT     /patients/{id}  modify_patient_record  tool:ehr:write\n"
        );
    }
}
