//! Lists the places of a binary that need a permit: each `#[protect]` and each `#[derive(Action)]`,
//! dependencies included.

use std::collections::BTreeSet;
use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Returns the sites of the whole binary, dependencies included, sorted by file and line.
///
/// Each `#[protect]` and each `#[derive(Action)]` that is compiled in is a site, once. Generic
/// functions are one site, whatever they are instantiated with.
///
/// ```standalone_crate
/// use atlasent::{Error, protect};
///
/// #[protect(action = "deploy.production", agent = "deploy-bot")]
/// fn deploy() -> Result<(), Error> {
///     Ok(())
/// }
///
/// # fn main() {
/// let sites = atlasent::sites();
/// let site = sites.iter().find(|site| site.function().is_some()).unwrap();
/// assert_eq!(site.action(), Some("deploy.production"));
/// assert!(site.path().ends_with("::deploy"));
/// println!("{sites}"); // a table
/// # }
/// ```
///
/// # Cost
///
/// A site is one static of some 150 bytes. Before `main`, the program links the statics to a list,
/// at a few nanoseconds each. Nothing is allocated before this call, and a protected call does not
/// touch its site.
///
/// # Platforms
///
/// The list is made by constructors that run before `main`, with the crate `inventory`: on Linux,
/// Android, the BSDs, illumos, macOS, iOS, Windows and WebAssembly. A WebAssembly host that does
/// not treat the module as a command has to call `__wasm_call_ctors` first. Where constructors do
/// not run, the list is empty, and everything else works.
///
/// A linker may leave out a dependency that the program does not refer to. Its sites cannot run,
/// and are not listed.
#[must_use]
pub fn sites() -> Sites {
    let registered: Vec<&'static SiteData> = inventory::iter::<SiteData>.into_iter().collect();
    let mut sites: Vec<Site> = registered
        .iter()
        .map(|data| Site {
            data,
            action: data.action.or_else(|| derived_name(data, &registered)),
        })
        .collect();
    sites.sort_by_key(|site| (site.data.file, site.data.line, site.path()));
    Sites(sites)
}

/// Returns the name of a typed action, from the `#[derive(Action)]` of a struct with that name: the
/// one in the same crate, or else the only one of the binary.
fn derived_name(site: &SiteData, registered: &[&'static SiteData]) -> Option<&'static str> {
    let ty = site.type_name?;
    let derived = || {
        let all = registered.iter().filter(|other| other.function.is_none());
        all.filter(move |other| other.type_name == Some(ty))
    };
    let only = |names: BTreeSet<Option<&'static str>>| {
        let is_one = names.len() == 1;
        names.into_iter().flatten().find(|_| is_one)
    };
    let here = derived().filter(|other| crate_of(other.module) == crate_of(site.module));
    only(here.map(|other| other.action).collect())
        .or_else(|| only(derived().map(|other| other.action).collect()))
}

/// Returns the crate of a module path.
fn crate_of(module: &str) -> &str {
    module.split_once("::").map_or(module, |(name, _)| name)
}

/// The sites of a binary. `Display` prints a table, and `Serialize` writes an array for tools.
#[derive(Clone, Debug)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// Returns an iterator over the sites.
    pub fn iter(&self) -> std::slice::Iter<'_, Site> {
        self.0.iter()
    }

    /// The number of sites.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the binary has no site.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Sites {
    type Item = Site;
    type IntoIter = std::vec::IntoIter<Site>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Sites {
    type Item = &'a Site;
    type IntoIter = std::slice::Iter<'a, Site>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(self.iter().map(Site::row)))
    }
}

/// Serializes as an array. `atlasent policy coverage --sites` and `atlasent policy schema --sites`
/// read it.
impl Serialize for Sites {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

/// Returns a table with the columns of [`Site::row`].
pub(crate) fn table(rows: impl Iterator<Item = [String; 5]>) -> String {
    let head = ["ACTION", "CODE", "SCOPE", "CHECKED", "LOCATION"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let [a, b, c, d] = [width(0), width(1), width(2), width(3)];
    let lines = rows.iter().map(|[action, code, scope, checked, location]| {
        format!("{action:a$}  {code:b$}  {scope:c$}  {checked:d$}  {location}\n")
    });
    lines.collect()
}

/// A `#[protect]` or a `#[derive(Action)]` that is compiled into the binary.
#[derive(Clone)]
pub struct Site {
    data: &'static SiteData,
    action: Option<&'static str>,
}

impl Site {
    /// The action's name. `None` for a typed action that is not a struct with `#[derive(Action)]`,
    /// or that shares its type's name with another one.
    ///
    /// The name of a typed action is that of the derived struct with the same name, preferably in
    /// the same crate. An `Action` that is implemented by hand should have a type name of its own.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action
    }

    /// The name of the action's type: of the struct with `#[derive(Action)]`, or the one that a
    /// typed `action` argument starts with. `None` for an action that a literal or a constant names.
    #[must_use]
    pub fn type_name(&self) -> Option<&str> {
        self.data.type_name
    }

    /// The name of the function with `#[protect]`. `None` for a `#[derive(Action)]`.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.data.function
    }

    /// The path of the function or of the struct: its module and its name. A method's path does not
    /// name the type.
    #[must_use]
    pub fn path(&self) -> String {
        let name = self.data.function.or(self.data.type_name);
        format!("{}::{}", self.data.module, name.unwrap_or_default())
    }

    /// The source file, as the compiler was given it.
    #[must_use]
    pub fn file(&self) -> &str {
        self.data.file
    }

    /// The line of the attribute, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.data.line
    }

    /// The `scope` argument: the value of a literal, or the expression.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.data.scope
    }

    /// Whether the compiler checked the action against the policies. `false` in a crate without a
    /// policy index.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.data.checked
    }

    /// Returns the row of the table.
    pub(crate) fn row(&self) -> [String; 5] {
        let action = match (self.action, self.data.type_name) {
            (Some(name), _) => name.to_owned(),
            (None, ty) => format!("<{}>", ty.unwrap_or("?")),
        };
        let code = match self.data.function {
            Some(_) => format!("fn {}", self.path()),
            None => format!("struct {}", self.path()),
        };
        let checked = if self.data.checked { "yes" } else { "no" };
        [
            action,
            code,
            self.data.scope.unwrap_or("-").to_owned(),
            checked.to_owned(),
            format!("{}:{}", self.data.file, self.data.line),
        ]
    }
}

impl Serialize for Site {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut site = serializer.serialize_struct("Site", 8)?;
        site.serialize_field("action", &self.action)?;
        site.serialize_field("type", &self.data.type_name)?;
        site.serialize_field("function", &self.data.function)?;
        site.serialize_field("path", &self.path())?;
        site.serialize_field("file", self.data.file)?;
        site.serialize_field("line", &self.data.line)?;
        site.serialize_field("scope", &self.data.scope)?;
        site.serialize_field("checked", &self.data.checked)?;
        site.end()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("action", &self.action)
            .field("path", &self.path())
            .field("file", &self.file())
            .field("line", &self.line())
            .field("scope", &self.scope())
            .field("checked", &self.is_checked())
            .finish_non_exhaustive()
    }
}

/// What an expansion registers. Only expansions build it.
#[derive(Debug)]
#[doc(hidden)]
pub struct SiteData {
    /// The name of a derived action, or of one that a literal or a constant names.
    pub action: Option<&'static str>,
    /// The type of a typed action.
    pub type_name: Option<&'static str>,
    /// The function with `#[protect]`.
    pub function: Option<&'static str>,
    /// The module of the function or of the struct.
    pub module: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
    /// The `scope` argument.
    pub scope: Option<&'static str>,
    /// Whether the action was checked against the policies.
    pub checked: bool,
}

inventory::collect!(SiteData);
