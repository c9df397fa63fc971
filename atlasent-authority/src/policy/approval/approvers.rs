//! Who may approve: any approver, or those with one of a list of roles and names.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The maximum number of roles and people in one list.
const MAX_LISTED: usize = 100;

/// The maximum length of a role or of a person's name, in characters.
const MAX_NAME: usize = 256;

/// The maximum number of steps of an escalation.
const MAX_STEPS: usize = 8;

/// The word before the first approver of each further step of an escalation.
const NEXT_STEP: &str = "then";

/// Who may vote on a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Approvers {
    /// Any approver.
    Any,
    /// Any approver with one of these roles or names. An empty list includes no approver.
    OneOf(Vec<ApproverName>),
}

/// One entry of a list of approvers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApproverName {
    /// Every approver with this role: `role:release-manager`.
    Role(String),
    /// The approver with this principal: `user:alice`.
    User(String),
}

impl Approvers {
    /// Parses a list of approvers, such as `role:release-manager, user:alice`.
    ///
    /// ```
    /// use atlasent_authority::policy::Approvers;
    ///
    /// let approvers = Approvers::parse("role:release-manager, user:alice")?;
    /// assert!(approvers.include("alice", &[]));
    /// assert!(approvers.include("bob", &["release-manager".to_owned()]));
    /// assert!(!approvers.include("bob", &["developer".to_owned()]));
    /// assert_eq!(approvers.to_string(), "role:release-manager or user:alice");
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A message that says what is wrong with the list and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<ApproverName> = text
            .split(',')
            .map(|item| ApproverName::parse(item.trim()))
            .collect::<Result<_, _>>()?;
        Self::listed(names)
    }

    /// Parses the steps of an escalation: lists of approvers, each after the first with `then`
    /// before its first approver.
    pub(super) fn parse_steps(text: &str) -> Result<Vec<Self>, String> {
        let mut steps = vec![Vec::new()];
        for item in text.split(',').map(str::trim) {
            let (is_next, name) = match item.strip_prefix(NEXT_STEP) {
                Some(name) if name.starts_with(char::is_whitespace) => (true, name.trim_start()),
                _ => (false, item),
            };
            let name = ApproverName::parse(name)?;
            match steps.last_mut() {
                Some(step) if is_next && step.is_empty() => {
                    return Err(format!("the first step has no `{NEXT_STEP}` before it"));
                }
                Some(step) if !is_next => step.push(name),
                _ => steps.push(vec![name]),
            }
        }
        if steps.len() > MAX_STEPS {
            return Err(format!(
                "{} steps are more than {MAX_STEPS}: leave some out",
                steps.len()
            ));
        }
        steps.into_iter().map(Self::listed).collect()
    }

    fn listed(names: Vec<ApproverName>) -> Result<Self, String> {
        if names.len() > MAX_LISTED {
            return Err(format!(
                "{} approvers are more than {MAX_LISTED}: give them a role, and list the role",
                names.len()
            ));
        }
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(format!("`{name}` is listed twice: leave one out"));
        }
        Ok(Self::OneOf(names))
    }

    /// Returns whether an approver with this principal and these roles may vote. Names are compared
    /// exactly.
    #[must_use]
    pub fn include(&self, principal: &str, roles: &[String]) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(names) => names.iter().any(|name| match name {
                ApproverName::Role(role) => roles.contains(role),
                ApproverName::User(user) => user == principal,
            }),
        }
    }

    /// Returns the number of people who may vote, if the list names only people.
    pub(in crate::policy) fn people(&self) -> Option<usize> {
        let Self::OneOf(names) = self else {
            return None;
        };
        let only_people = names
            .iter()
            .all(|name| matches!(name, ApproverName::User(_)));
        only_people.then_some(names.len())
    }
}

/// For people: `any approver`, or `role:release-manager, role:cto or user:alice`.
impl fmt::Display for Approvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any approver"),
            Self::OneOf(names) => match names.as_slice() {
                [] => f.write_str("no approver"),
                [only] => only.fmt(f),
                [first, middle @ .., last] => {
                    first.fmt(f)?;
                    for name in middle {
                        write!(f, ", {name}")?;
                    }
                    write!(f, " or {last}")
                }
            },
        }
    }
}

impl ApproverName {
    fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write `role:NAME` or `user:NAME`, with commas between them";
        if text.is_empty() {
            return Err(format!("an approver is missing: {FORM}"));
        }
        let Some((kind, name)) = text.split_once(':') else {
            return Err(format!("`{text}` is neither a role nor a person: {FORM}"));
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(format!("`{text}` has no name: {FORM}"));
        }
        if name.chars().count() > MAX_NAME {
            return Err(format!(
                "a name has more than {MAX_NAME} characters: shorten it"
            ));
        }
        if name.chars().any(char::is_control) {
            return Err("a name has a control character: leave it out".to_owned());
        }
        if name.split_whitespace().any(|word| word == NEXT_STEP) {
            return Err(format!(
                "`{text}` has the word `{NEXT_STEP}` in its name: write a comma before the \
                 `{NEXT_STEP}` of the next step of `@escalate_to`"
            ));
        }
        match kind.trim_end() {
            "role" => Ok(Self::Role(name.to_owned())),
            "user" => Ok(Self::User(name.to_owned())),
            _ => Err(format!("`{text}` is neither a role nor a person: {FORM}")),
        }
    }
}

impl fmt::Display for ApproverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "role:{name}"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_listed_role_or_name_may_vote_and_no_other() {
        let approvers = Approvers::parse(" role:release manager ,user:alice,user: a:b").unwrap();
        assert!(approvers.include("alice", &[]));
        assert!(approvers.include("a:b", &[]));
        assert!(approvers.include("bob", &roles(&["x", "release manager"])));
        for (principal, has) in [
            ("bob", vec![]),
            ("Alice", vec![]),
            ("alice ", vec![]),
            ("release manager", vec![]),
            ("user:alice", vec![]),
            (
                "bob",
                roles(&["alice", "role:release manager", "Release manager"]),
            ),
        ] {
            assert!(!approvers.include(principal, &has), "{principal} {has:?}");
        }
        assert!(Approvers::Any.include("bob", &[]));
        assert!(!Approvers::OneOf(vec![]).include("bob", &roles(&["x"])));
    }

    #[test]
    fn a_list_that_is_wrong_is_refused_with_advice() {
        for (text, message) in [
            (
                "",
                "an approver is missing: write `role:NAME` or `user:NAME`",
            ),
            ("role:a,", "an approver is missing"),
            ("alice", "`alice` is neither a role nor a person"),
            ("group:a", "`group:a` is neither a role nor a person"),
            ("Role:a", "`Role:a` is neither"),
            ("role:", "`role:` has no name"),
            ("user: ", "`user:` has no name"),
            ("role:a, role:a", "`role:a` is listed twice"),
            ("role:a\u{7}b", "a name has a control character"),
            (
                "role:a then role:b",
                "`role:a then role:b` has the word `then`",
            ),
            ("then role:a", "`then role:a` is neither"),
        ] {
            let error = Approvers::parse(text).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        let longest = format!("user:{}", "é".repeat(MAX_NAME));
        assert!(Approvers::parse(&longest).is_ok());
        assert!(Approvers::parse(&format!("{longest}é")).is_err());
        let many: Vec<String> = (0..MAX_LISTED).map(|n| format!("user:u{n}")).collect();
        assert!(Approvers::parse(&many.join(",")).is_ok());
        assert!(Approvers::parse(&format!("{},user:x", many.join(","))).is_err());
    }

    #[test]
    fn the_steps_of_an_escalation_read_as_a_sentence() {
        let steps = Approvers::parse_steps(
            "role:director, user:dana, then role:cto, role:ciso, then user:thenia",
        )
        .unwrap();
        let shown: Vec<String> = steps.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "role:director or user:dana",
                "role:cto or role:ciso",
                "user:thenia"
            ]
        );
        let eight = ["role:a"; MAX_STEPS].join(", then ");
        assert_eq!(Approvers::parse_steps(&eight).unwrap().len(), MAX_STEPS);
        for (text, message) in [
            ("then role:a", "the first step has no `then`"),
            ("role:a, then", "`then` is neither a role nor a person"),
            ("role:a, thenrole:b", "`thenrole:b` is neither"),
            ("role:a, role:a", "`role:a` is listed twice"),
            (
                "role:a then role:b",
                "`role:a then role:b` has the word `then`",
            ),
            (&format!("{eight}, then role:b"), "9 steps are more than 8"),
        ] {
            let error = Approvers::parse_steps(text).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_list_of_people_alone_has_a_number_of_people() {
        assert_eq!(
            Approvers::parse("user:a, user:b").unwrap().people(),
            Some(2)
        );
        assert_eq!(Approvers::parse("user:a, role:b").unwrap().people(), None);
        assert_eq!(Approvers::Any.people(), None);
    }

    #[test]
    fn approvers_are_shown_as_a_person_would_say_it() {
        for (text, shown) in [
            ("role:a", "role:a"),
            ("role:a,user:b", "role:a or user:b"),
            ("role:a,role:c,user:b", "role:a, role:c or user:b"),
        ] {
            assert_eq!(Approvers::parse(text).unwrap().to_string(), shown);
        }
        assert_eq!(Approvers::Any.to_string(), "any approver");
        assert_eq!(Approvers::OneOf(vec![]).to_string(), "no approver");
    }
}
