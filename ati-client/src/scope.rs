//! The scopes of a token: parsing, building and matching.

use std::fmt;

use crate::Error;
use crate::escape::{Escaped, excerpt};

/// The prefix of a tool's scope.
const TOOL: &str = "tool:";
/// The prefix of a skill's scope.
const SKILL: &str = "skill:";

/// The scopes that a token grants, in the token's order.
///
/// A scope is `tool:<name>`, `skill:<name>` or a bare word such as `help`. A scope that ends in `*`
/// is a pattern, and covers every scope that begins with the text before the `*`.
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

    /// Whether one of the scopes covers `required`: see [`check_scope`].
    ///
    /// # Errors
    ///
    /// [`Error::BadScope`] if `required` is empty or contains white space.
    pub fn grants(&self, required: &str) -> Result<bool, Error> {
        check_scope(required, self.iter())
    }

    /// Iterates over the scopes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        parse_scopes(&self.0)
    }

    /// Whether the token grants no scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns the claim `scope`, unchanged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the claim for logs, with unprintable characters escaped. [`as_str`](Scopes::as_str)
/// returns it unchanged.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

/// Splits a claim `scope` at white space.
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

/// Builds a claim `scope`: tools, then skills, then `extra` scopes.
///
/// Tools and skills get the prefix `tool:` or `skill:` unless they have it. Extra scopes stay
/// unchanged.
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
/// [`Error::BadScope`] if a name is empty or contains white space, which would split it into
/// several scopes.
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

/// Appends `name` to a claim `scope`, with its prefix.
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

/// Fails if `scope` is empty or contains white space.
pub(crate) fn check_scope_text(scope: &str) -> Result<(), Error> {
    // Python's `str.split` also splits at the four information separators, which Unicode does not
    // count as white space.
    let separates = |c: char| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}');
    let reason = if scope.is_empty() {
        "it is empty"
    } else if scope.contains(separates) {
        "it contains white space, which separates scopes"
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
/// A granted pattern may also use a tool's older name, with an underscore after the provider:
/// `tool:github_search` covers `tool:github:search`. The check allocates nothing.
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
/// [`Error::BadScope`] if `required` is empty or contains white space.
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

/// Whether the granted pattern `held` grants every scope that the granted pattern `other` grants.
///
/// `tool:github_*` includes `tool:github:*`, since it covers `tool:github:search` by its older
/// name. It does not include `tool:my_github:search`, although it covers that scope's older name: a
/// granted `tool:my_github:search` is itself the older name of `tool:my:github:search`, whose own
/// older name `tool:my_github:search` does not match.
pub(crate) fn includes(held: &str, other: &str) -> bool {
    let (prefix, covers_prefix): (_, fn(&str, &str) -> bool) = match other.strip_suffix('*') {
        // A pattern is included if every text after its prefix is covered.
        Some(prefix) => (prefix, |held, prefix| {
            let held = held.strip_suffix('*');
            held.is_some_and(|held| prefix.starts_with(held))
        }),
        None => (other, |held, name| matches_wildcard(name, held)),
    };
    if covers_prefix(held, prefix) {
        return true;
    }
    older_name(prefix).is_some_and(|alias| {
        let provider = alias.head.strip_prefix(TOOL).unwrap_or_default();
        let alias = format!("{}{}{}", alias.head, alias.separator, alias.tail);
        !provider.contains('_') && covers_prefix(held, &alias)
    })
}

/// Whether the rate of `pattern` applies to a call of `name`.
///
/// A call by the older name `tool:github_search` also counts against the rates of the newer names
/// that it may stand for, such as `tool:github:search`.
pub(crate) fn rate_covers(pattern: &str, name: &str) -> bool {
    covers(pattern, name, older_name(name)) || newer_names(name).any(|name| name.matches(pattern))
}

/// Whether `pattern` covers `name`.
///
/// A `*` at the end of a pattern matches any text, also an empty one, so `*` alone covers every
/// name. Every other character matches itself only, a `*` elsewhere included.
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

/// Whether the final `*` of a pattern follows a letter, a digit or another `*`, so that the pattern
/// covers unrelated names: `tool:git*` covers `tool:gitlab` as well as `tool:github`.
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

/// A name as three pieces, which are matched without being joined: no allocation is needed.
///
/// The older name of `tool:github:search` is the head `tool:github`, the separator `_` and the tail
/// `search`, and matches as `tool:github_search`.
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
            // The prefix ends before the tail begins.
            None => prefix.strip_prefix(self.head).map_or_else(
                || self.head.starts_with(prefix),
                |rest| self.separator.starts_with(rest),
            ),
        }
    }

    /// Returns the rest of `text` after the head and the separator, if it begins with them.
    fn strip_start(self, text: &str) -> Option<&str> {
        text.strip_prefix(self.head)?.strip_prefix(self.separator)
    }
}

/// Returns the older name of a tool: `tool:github_search` for `tool:github:search`.
fn older_name(name: &str) -> Option<SplitName<'_>> {
    let (provider, tail) = name.strip_prefix(TOOL)?.split_once(':')?;
    let head = name.get(..TOOL.len() + provider.len())?;
    Some(SplitName {
        head,
        separator: "_",
        tail,
    })
}

/// Returns the newer names that an older name may stand for: `tool:github:search` for
/// `tool:github_search` and `tool:github__search`.
///
/// Where the provider ends is unknown, so `tool:a_b_c` may stand for `tool:a:b_c` and `tool:a_b:c`.
fn newer_names(name: &str) -> impl Iterator<Item = SplitName<'_>> {
    let split_at = |separator: &'static str| {
        name.strip_prefix(TOOL)
            .filter(|bare| !bare.contains(':'))
            .into_iter()
            // `match_indices` would skip overlaps: in `a___b`, the separator `__` occurs twice.
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
