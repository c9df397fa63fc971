//! A person who approves: the principal and the roles that votes count by.

use std::collections::HashSet;

use atlasent::text::Escaped;
use serde::{Deserialize, Serialize};

/// The maximum length of a principal and of a role, in characters.
pub const MAX_APPROVER_NAME: usize = 256;

/// The maximum number of roles of one approver.
pub const MAX_APPROVER_ROLES: usize = 100;

/// A person who may vote on what policies hold.
///
/// Policies name approvers by these names: `@approvers("role:release-manager, user:alice")`. One
/// principal is one person, whatever keys and tokens it uses.
///
/// ```
/// use atlasent_authority::approvals::Approver;
///
/// let alice = Approver::new("alice", ["release-manager"])?;
/// assert_eq!(alice.to_string(), "alice (release-manager)");
/// assert!(Approver::new("", ["release-manager"]).is_err());
/// # Ok::<(), atlasent_authority::approvals::InvalidApprover>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[non_exhaustive]
pub struct Approver {
    /// The name of the person.
    pub principal: String,
    /// The roles of the person, each once.
    pub roles: Vec<String>,
}

/// Why a principal or a role is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApprover {
    /// A name is empty.
    #[error("the {0} is empty: name it")]
    Empty(&'static str),
    /// A name is too long.
    #[error("the {0} has more than {MAX_APPROVER_NAME} characters: shorten it")]
    TooLong(&'static str),
    /// No policy could list the name.
    #[error(
        "the {kind} `{}` has a comma, a control character, or white space around it: rename it",
        Escaped::new(name)
    )]
    Unlistable {
        /// What is named.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// There are too many roles.
    #[error("an approver has at most {MAX_APPROVER_ROLES} roles: leave some out")]
    TooManyRoles,
}

impl Approver {
    /// Creates an approver. Repeated roles count once.
    ///
    /// # Errors
    ///
    /// [`InvalidApprover`] when the principal or a role is empty, has more than 256 characters, a
    /// comma, a control character, or white space around it, or when there are more than 100 roles.
    pub fn new(
        principal: impl Into<String>,
        roles: impl IntoIterator<Item: Into<String>>,
    ) -> Result<Self, InvalidApprover> {
        let principal = principal.into();
        check_name("principal", &principal)?;
        let (mut seen, mut distinct) = (HashSet::new(), Vec::new());
        for role in roles {
            let role = role.into();
            check_name("role", &role)?;
            if seen.insert(role.clone()) {
                distinct.push(role);
            }
            if distinct.len() > MAX_APPROVER_ROLES {
                return Err(InvalidApprover::TooManyRoles);
            }
        }
        Ok(Self {
            principal,
            roles: distinct,
        })
    }
}

/// For people, escaped: `alice (release-manager, cto)`, or `alice` without a role.
impl std::fmt::Display for Approver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Escaped::new(&self.principal))?;
        if self.roles.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", Escaped::new(&self.roles.join(", ")))
    }
}

/// Checks a principal or a role: policies list names with commas between them.
pub(crate) fn check_name(kind: &'static str, name: &str) -> Result<(), InvalidApprover> {
    if name.is_empty() {
        return Err(InvalidApprover::Empty(kind));
    }
    if name.chars().count() > MAX_APPROVER_NAME {
        return Err(InvalidApprover::TooLong(kind));
    }
    let is_unlistable = |c: char| c == ',' || c.is_control();
    if name.contains(is_unlistable) || name.trim() != name {
        return Err(InvalidApprover::Unlistable {
            kind,
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// An approver as it is stored.
#[derive(Deserialize)]
struct Unchecked {
    principal: String,
    #[serde(default)]
    roles: Vec<String>,
}

impl TryFrom<Unchecked> for Approver {
    type Error = InvalidApprover;

    fn try_from(stored: Unchecked) -> Result<Self, InvalidApprover> {
        Self::new(stored.principal, stored.roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_policy_could_list_is_refused() {
        let longest = "é".repeat(MAX_APPROVER_NAME);
        for good in ["a", "auth0|abc:1", "Release Managers", &longest] {
            assert!(Approver::new(good, [good]).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            " a",
            "a\n",
            "a,b",
            "a\u{0}b",
            &format!("{longest}é"),
        ] {
            assert!(Approver::new(bad, ["r"]).is_err(), "{bad:?}");
            assert!(Approver::new("a", [bad]).is_err(), "{bad:?}");
            let stored = serde_json::json!({ "principal": "a", "roles": [bad] });
            assert!(serde_json::from_value::<Approver>(stored).is_err());
        }
        let roles = |count: usize| (0..count).map(|n| format!("r{n}"));
        assert!(Approver::new("a", roles(MAX_APPROVER_ROLES)).is_ok());
        assert_eq!(
            Approver::new("a", roles(MAX_APPROVER_ROLES + 1)),
            Err(InvalidApprover::TooManyRoles)
        );
    }

    #[test]
    fn a_repeated_role_counts_once() {
        let approver = Approver::new("a", ["r", "s", "r"]).unwrap();
        assert_eq!(approver.roles, ["r", "s"]);
        assert_eq!(approver.to_string(), "a (r, s)");
        assert_eq!(Approver::new("a", [""; 0]).unwrap().to_string(), "a");
    }
}
