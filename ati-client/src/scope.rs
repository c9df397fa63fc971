//! Scopes: what a token grants, and how a pattern covers a name.

use std::fmt;

use crate::Error;
use crate::escape::{Escaped, excerpt};

/// What a scope of a tool begins with.
const TOOL: &str = "tool:";
/// What a scope of a skill begins with.
const SKILL: &str = "skill:";

/// The scopes that a token grants, in the order in which it names them.
///
/// A scope is `tool:<name>`, `skill:<name>` or a bare word; one that ends in `*` covers every name
/// that begins with what stands before.
///
/// ```
/// use ati_client::Claims;
///
/// let claims = Claims::builder("agent-7").scope("tool:github:*").scope("help").build()?;
/// let scopes = claims.scopes();
/// assert!(scopes.grants("tool:github:search")?);
/// assert!(!scopes.grants("tool:gitlab:search")?);
/// assert_eq!(scopes.iter().collect::<Vec<_>>(), ["tool:github:*", "help"]);
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(String);

impl Scopes {
    pub(crate) fn new(scope: String) -> Self {
        Self(scope)
    }

    /// Whether one of these covers `required`: see [`check_scope`].
    ///
    /// # Errors
    ///
    /// [`Error::BadScope`] if `required` is empty or holds white space.
    pub fn grants(&self, required: &str) -> Result<bool, Error> {
        check_scope(required, self.iter())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        parse_scopes(&self.0)
    }

    /// Whether the token grants no scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The claim `scope`, as it stands in the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For logs: text that a terminal obeys is escaped. [`as_str`](Scopes::as_str) is the claim as it
/// stands.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// The scopes in a claim `scope`, which separates them by spaces.
///
/// ```
/// use ati_client::parse_scopes;
///
/// assert_eq!(parse_scopes(" tool:a  help").collect::<Vec<_>>(), ["tool:a", "help"]);
/// assert_eq!(parse_scopes("").count(), 0);
/// ```
pub fn parse_scopes(scope: &str) -> impl Iterator<Item = &str> {
    scope.split_whitespace()
}

/// Writes a claim `scope`: tools, then skills, then `extra` scopes as they are.
///
/// Names get their prefix `tool:` or `skill:` unless they have it.
///
/// ```
/// use ati_client::build_scope_string;
///
/// let scope = build_scope_string(["web_search", "tool:github:*"], ["research-*"], ["help"])?;
/// assert_eq!(scope, "tool:web_search tool:github:* skill:research-* help");
/// # Ok::<(), ati_client::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::BadScope`] if a name is empty or holds white space, which would grant something else
/// than it says.
pub fn build_scope_string(
    tools: impl IntoIterator<Item: AsRef<str>>,
    skills: impl IntoIterator<Item: AsRef<str>>,
    extra: impl IntoIterator<Item: AsRef<str>>,
) -> Result<String, Error> {
    let mut scope = String::new();
    for name in tools {
        push_scope(&mut scope, TOOL, name.as_ref())?;
    }
    for name in skills {
        push_scope(&mut scope, SKILL, name.as_ref())?;
    }
    for name in extra {
        push_scope(&mut scope, "", name.as_ref())?;
    }
    Ok(scope)
}

/// Adds one scope to a claim `scope`.
fn push_scope(scope: &mut String, prefix: &str, name: &str) -> Result<(), Error> {
    let bare = name.strip_prefix(prefix).unwrap_or(name);
    check_scope_text(bare)?;
    if !scope.is_empty() {
        scope.push(' ');
    }
    scope.push_str(prefix);
    scope.push_str(bare);
    Ok(())
}

pub(crate) fn check_scope_text(scope: &str) -> Result<(), Error> {
    let reason = if scope.is_empty() {
        "it is empty"
    } else if scope.contains(char::is_whitespace) {
        "it holds white space, which separates scopes"
    } else {
        return Ok(());
    };
    Err(Error::BadScope {
        scope: excerpt(scope),
        reason,
    })
}

/// Whether one of the `granted` patterns covers `required`.
///
/// A tool of a provider is also covered under its older name: the colon behind the provider in
/// `tool:github:search` may be an underscore in a granted pattern. It allocates nothing.
///
/// ```
/// use ati_client::check_scope;
///
/// assert!(check_scope("tool:github:search", ["help", "tool:github:*"])?);
/// assert!(check_scope("tool:github:search", ["tool:github_*"])?);
/// assert!(!check_scope("tool:github_search", ["tool:github:*"])?);
/// # Ok::<(), ati_client::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::BadScope`] if `required` is empty or holds white space: nothing is called that.
pub fn check_scope<'a>(
    required: &str,
    granted: impl IntoIterator<Item = &'a str>,
) -> Result<bool, Error> {
    check_scope_text(required)?;
    let alias = older_name(required);
    Ok(granted
        .into_iter()
        .any(|pattern| covers(pattern, required, alias)))
}

/// Whether `pattern` covers the scope `name`, whose older name is `alias`.
fn covers(pattern: &str, name: &str, alias: Option<SplitName<'_>>) -> bool {
    matches_wildcard(name, pattern) || alias.is_some_and(|alias| alias.matches(pattern))
}

/// Whether the rate of `pattern` counts for a call of `name`.
///
/// Rates follow the tool, whatever it is called by: when an older name is called, which is
/// `tool:github_search` for `tool:github:search`, those of the name that it may stand for count
/// too.
pub(crate) fn rate_covers(pattern: &str, name: &str) -> bool {
    covers(pattern, name, older_name(name)) || newer_names(name).any(|name| name.matches(pattern))
}

/// Whether `name` is what `pattern` says: `*` is everything, a `*` at the end stands for any rest,
/// and every other character for itself.
///
/// ```
/// use ati_client::matches_wildcard;
///
/// assert!(matches_wildcard("tool:search", "tool:*"));
/// assert!(matches_wildcard("tool:", "tool:*"));
/// assert!(!matches_wildcard("Tool:search", "tool:*"));
/// assert!(!matches_wildcard("tool:search", "tool:*rch"));
/// ```
#[must_use]
pub fn matches_wildcard(name: &str, pattern: &str) -> bool {
    name == pattern
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| name.starts_with(prefix))
}

/// Whether a pattern's `*` stands inside a name, so that it covers names that merely begin alike:
/// `tool:git*` covers `tool:gitlab` as well as `tool:github`.
///
/// ```
/// use ati_client::is_loose_wildcard;
///
/// assert!(is_loose_wildcard("tool:git*"));
/// assert!(!is_loose_wildcard("tool:github:*"));
/// assert!(!is_loose_wildcard("*"));
/// ```
#[must_use]
pub fn is_loose_wildcard(pattern: &str) -> bool {
    pattern
        .strip_suffix('*')
        .and_then(|prefix| prefix.chars().next_back())
        .is_some_and(|last| last.is_alphanumeric() || last == '*')
}

/// A name in two halves and what joins them, so that none has to be written out.
#[derive(Clone, Copy)]
struct SplitName<'a> {
    head: &'a str,
    separator: &'static str,
    tail: &'a str,
}

impl SplitName<'_> {
    fn matches(self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) => self.equals(pattern) || self.starts_with(prefix),
            None => self.equals(pattern),
        }
    }

    fn equals(self, text: &str) -> bool {
        self.strip_start(text) == Some(self.tail)
    }

    fn starts_with(self, prefix: &str) -> bool {
        match self.strip_start(prefix) {
            Some(rest) => self.tail.starts_with(rest),
            // It ends before the tail begins.
            None => prefix.strip_prefix(self.head).map_or_else(
                || self.head.starts_with(prefix),
                |rest| self.separator.starts_with(rest),
            ),
        }
    }

    /// What stands in `text` where the tail would, if it begins with all that comes before.
    fn strip_start(self, text: &str) -> Option<&str> {
        text.strip_prefix(self.head)?.strip_prefix(self.separator)
    }
}

/// `tool:github_search` for `tool:github:search`.
fn older_name(name: &str) -> Option<SplitName<'_>> {
    let (provider, tail) = name.strip_prefix(TOOL)?.split_once(':')?;
    let head = name.get(..TOOL.len() + provider.len())?;
    Some(SplitName {
        head,
        separator: "_",
        tail,
    })
}

/// `tool:github:search` for `tool:github_search` and `tool:github__search`: a colon for each of the
/// places where the provider could end.
fn newer_names(name: &str) -> impl Iterator<Item = SplitName<'_>> {
    let split_at = |separator: &'static str| {
        name.strip_prefix(TOOL)
            .filter(|bare| !bare.contains(':'))
            .into_iter()
            // Not `match_indices`: in `a___b`, the later two underscores can be the separator too.
            .flat_map(str::char_indices)
            .filter_map(move |(at, _)| {
                let (head, tail) = name.split_at_checked(TOOL.len() + at)?;
                Some(SplitName {
                    head,
                    separator: ":",
                    tail: tail.strip_prefix(separator)?,
                })
            })
    };
    split_at("_").chain(split_at("__"))
}
