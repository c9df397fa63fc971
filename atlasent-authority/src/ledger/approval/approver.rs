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
        Ok(Self {
            principal,
            roles: checked_roles(roles.into_iter().map(Into::into))?,
        })
    }

    /// Creates the approver that the issuer of a signed approval names.
    ///
    /// Issuers choose the names, for example the subject of a certificate: `CN=Ada,OU=QA`. No
    /// policy can list such a principal, but the principal can approve by a role. Roles that no
    /// policy can list, and roles after the first 100, are left out.
    ///
    /// # Errors
    ///
    /// [`InvalidApprover`] when the principal is blank, has more than 256 characters, or has a
    /// control character.
    pub(crate) fn from_issuer(
        principal: String,
        roles: Vec<String>,
    ) -> Result<Self, InvalidApprover> {
        check_issued_principal(&principal)?;
        let mut seen = HashSet::new();
        let listable = roles
            .into_iter()
            .filter(|role| check_name("role", role).is_ok());
        let distinct = listable.filter(|role| seen.insert(role.clone()));
        Ok(Self {
            principal,
            roles: distinct.take(MAX_APPROVER_ROLES).collect(),
        })
    }
}

/// Returns each of the roles once.
fn checked_roles(roles: impl Iterator<Item = String>) -> Result<Vec<String>, InvalidApprover> {
    let (mut seen, mut distinct) = (HashSet::new(), Vec::new());
    for role in roles {
        check_name("role", &role)?;
        if seen.insert(role.clone()) {
            distinct.push(role);
        }
        if distinct.len() > MAX_APPROVER_ROLES {
            return Err(InvalidApprover::TooManyRoles);
        }
    }
    Ok(distinct)
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
    check_length(kind, name)?;
    let is_unlistable = |c: char| c == ',' || c.is_control();
    if name.contains(is_unlistable) || name.trim() != name {
        return Err(InvalidApprover::unlistable(kind, name));
    }
    Ok(())
}

/// Checks a principal that an issuer of signed approvals names. White space around it is allowed:
/// votes ignore it when they compare people.
fn check_issued_principal(name: &str) -> Result<(), InvalidApprover> {
    check_length("principal", name)?;
    match name.contains(char::is_control) {
        true => Err(InvalidApprover::unlistable("principal", name)),
        false => Ok(()),
    }
}

fn check_length(kind: &'static str, name: &str) -> Result<(), InvalidApprover> {
    if name.trim().is_empty() {
        return Err(InvalidApprover::Empty(kind));
    }
    match name.chars().nth(MAX_APPROVER_NAME) {
        Some(_) => Err(InvalidApprover::TooLong(kind)),
        None => Ok(()),
    }
}

impl InvalidApprover {
    fn unlistable(kind: &'static str, name: &str) -> Self {
        Self::Unlistable {
            kind,
            name: name.to_owned(),
        }
    }
}

/// An approver as it is stored: one of this authority, or one that an issuer named.
#[derive(Deserialize)]
struct Unchecked {
    principal: String,
    #[serde(default)]
    roles: Vec<String>,
}

impl TryFrom<Unchecked> for Approver {
    type Error = InvalidApprover;

    fn try_from(stored: Unchecked) -> Result<Self, InvalidApprover> {
        check_issued_principal(&stored.principal)?;
        Ok(Self {
            principal: stored.principal,
            roles: checked_roles(stored.roles.into_iter())?,
        })
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
    fn an_issuer_may_name_people_and_roles_that_no_policy_can_list() {
        let from_issuer = |principal: &str, roles: &[&str]| {
            let roles = roles.iter().map(ToString::to_string).collect();
            Approver::from_issuer(principal.to_owned(), roles)
        };
        let too_long = "x".repeat(MAX_APPROVER_NAME + 1);
        let roles = [
            "CN=ops,OU=it",
            "",
            "qa",
            " qa",
            "qa",
            "a\n",
            &too_long,
            "ops",
        ];
        let jane = from_issuer("CN=Jane,OU=Ops", &roles).unwrap();
        assert_eq!(jane.principal, "CN=Jane,OU=Ops");
        assert_eq!(jane.roles, ["qa", "ops"]);
        for principal in ["CN=Jane,OU=Ops", " ada ", "ada"] {
            let approver = from_issuer(principal, &["qa"]).unwrap();
            let stored = serde_json::to_value(&approver).unwrap();
            assert_eq!(
                serde_json::from_value::<Approver>(stored).unwrap(),
                approver
            );
        }
        for principal in ["", " ", "a\n", "a\u{0}b", &too_long] {
            assert!(from_issuer(principal, &["qa"]).is_err(), "{principal:?}");
            let stored = serde_json::json!({ "principal": principal, "roles": [] });
            assert!(serde_json::from_value::<Approver>(stored).is_err());
        }
        let many: Vec<String> = (0..=MAX_APPROVER_ROLES).map(|n| format!("r{n}")).collect();
        let approver = Approver::from_issuer("ada".to_owned(), many.clone()).unwrap();
        assert_eq!(approver.roles, many[..MAX_APPROVER_ROLES]);
    }

    #[test]
    fn a_repeated_role_counts_once() {
        let approver = Approver::new("a", ["r", "s", "r"]).unwrap();
        assert_eq!(approver.roles, ["r", "s"]);
        assert_eq!(approver.to_string(), "a (r, s)");
        assert_eq!(Approver::new("a", [""; 0]).unwrap().to_string(), "a");
    }
}
