//! Compares the actions in the code with the actions that policies know.

use std::collections::BTreeSet;
use std::fmt;

use crate::sites::{Site, Sites, sites};

/// Compares the sites of this binary with the actions that the policies know.
///
/// Call it in a test of the binary, with the names that the policies or their schema declare:
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
/// assert_eq!(coverage.actions_without_site(), ["deploy.prodcution"]);
/// assert_eq!(coverage.sites_without_action().len(), 1);
/// # }
/// ```
#[must_use]
pub fn coverage(known: impl IntoIterator<Item = impl AsRef<str>>) -> Coverage {
    Coverage::new(known, sites())
}

/// The difference between the actions in the code and the actions that policies know. `Display`
/// prints it.
#[derive(Clone, Debug)]
pub struct Coverage {
    actions_without_site: Vec<String>,
    sites_without_action: Vec<Site>,
    unnamed_sites: Vec<Site>,
}

impl Coverage {
    fn new(known: impl IntoIterator<Item = impl AsRef<str>>, sites: Sites) -> Self {
        let known: BTreeSet<String> = known
            .into_iter()
            .map(|action| action.as_ref().to_owned())
            .collect();
        let mut without_site = known.clone();
        let mut sites_without_action = Vec::new();
        let mut unnamed_sites = Vec::new();
        for site in sites {
            match site.action() {
                Some(action) if known.contains(action) => {
                    without_site.remove(action);
                }
                Some(_) => sites_without_action.push(site),
                None => unnamed_sites.push(site),
            }
        }
        Self {
            actions_without_site: without_site.into_iter().collect(),
            sites_without_action,
            unnamed_sites,
        }
    }

    /// The actions that the policies know and no site has, sorted.
    #[must_use]
    pub fn actions_without_site(&self) -> &[String] {
        &self.actions_without_site
    }

    /// The sites whose action the policies do not know. An authority denies them.
    #[must_use]
    pub fn sites_without_action(&self) -> &[Site] {
        &self.sites_without_action
    }

    /// The sites whose action has no name before the program runs: see [`Site::action`]. They are
    /// not compared.
    #[must_use]
    pub fn unnamed_sites(&self) -> &[Site] {
        &self.unnamed_sites
    }

    /// Whether each action has a site, and each site with a named action has an action that the
    /// policies know.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.actions_without_site.is_empty() && self.sites_without_action.is_empty()
    }

    /// Panics with the difference unless the coverage [is complete](Self::is_complete).
    #[track_caller]
    pub fn assert_complete(&self) {
        assert!(self.is_complete(), "{self}");
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            writeln!(
                f,
                "each action of the policies has a site, and each named action in the code has a policy"
            )?;
        }
        if !self.actions_without_site.is_empty() {
            writeln!(f, "actions that no code has:")?;
        }
        for action in &self.actions_without_site {
            writeln!(f, "  {action}")?;
        }
        if !self.sites_without_action.is_empty() {
            writeln!(f, "sites whose action the policies do not know:")?;
        }
        for site in &self.sites_without_action {
            write_site(f, site)?;
        }
        if !self.unnamed_sites.is_empty() {
            writeln!(f, "sites whose action has no name before the program runs:")?;
        }
        for site in &self.unnamed_sites {
            write_site(f, site)?;
        }
        Ok(())
    }
}

/// Writes a site on a line of its own.
fn write_site(f: &mut fmt::Formatter<'_>, site: &Site) -> fmt::Result {
    let action = site.action().or(site.type_name()).unwrap_or_default();
    let (path, file, line) = (site.path(), site.file(), site.line());
    writeln!(f, "  {action} at {path} ({file}:{line})")
}
