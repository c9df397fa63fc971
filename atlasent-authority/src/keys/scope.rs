//! The scopes of an API key.

use std::fmt;
use std::str::FromStr;

use atlasent::text::Escaped;
use serde::{Deserialize, Serialize};

/// A scope of an API key: one kind of calls that the key may make.
///
/// ```
/// use atlasent_authority::keys::ApiScope;
///
/// assert_eq!("audit.read".parse(), Ok(ApiScope::AuditRead));
/// assert!("everything".parse::<ApiScope>().unwrap_err().to_string().contains("`evaluate`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum ApiScope {
    /// Evaluate requests; an allowed request gets a permit.
    Evaluate,
    /// Verify permits; verification consumes a permit.
    Verify,
    /// Revoke permits.
    Revoke,
    /// List permits and read them by id.
    PermitsRead,
    /// Set and lift stops.
    Stop,
    /// Read the events of the audit trail.
    AuditRead,
    /// Make signed exports of the audit trail.
    AuditExport,
    /// Vote on what policies hold, as the key's [approver](super::ApiKey::approver). No key has this
    /// scope by default.
    Approve,
    /// Copy the store although it holds other organizations: for keys of `local`, whose holder
    /// operates the server. No key has this scope by default.
    StoreBackup,
}

impl ApiScope {
    /// All scopes.
    pub const ALL: [Self; 9] = [
        Self::Evaluate,
        Self::Verify,
        Self::Revoke,
        Self::PermitsRead,
        Self::Stop,
        Self::AuditRead,
        Self::AuditExport,
        Self::Approve,
        Self::StoreBackup,
    ];

    /// The scopes of a new key: all that concern its own organization, without votes.
    pub const DEFAULT: [Self; 7] = [
        Self::Evaluate,
        Self::Verify,
        Self::Revoke,
        Self::PermitsRead,
        Self::Stop,
        Self::AuditRead,
        Self::AuditExport,
    ];

    /// The scopes of a new key of an approver: voting, and reading permits and the audit trail.
    pub const APPROVER: [Self; 3] = [Self::Approve, Self::PermitsRead, Self::AuditRead];

    /// The scope's name in requests and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Verify => "verify",
            Self::Revoke => "revoke",
            Self::PermitsRead => "permits.read",
            Self::Stop => "stop",
            Self::AuditRead => "audit.read",
            Self::AuditExport => "audit.export",
            Self::Approve => "approve",
            Self::StoreBackup => "store.backup",
        }
    }
}

/// The error for a word that is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a scope: use `evaluate`, `verify`, `revoke`, `permits.read`, `stop`, `audit.read`, \
     `audit.export`, `approve` or `store.backup`",
    Escaped::new(.0)
)]
pub struct UnknownApiScope(String);

impl FromStr for ApiScope {
    type Err = UnknownApiScope;

    fn from_str(word: &str) -> Result<Self, UnknownApiScope> {
        let mut all = Self::ALL.into_iter();
        all.find(|scope| scope.as_str() == word)
            .ok_or_else(|| UnknownApiScope(word.chars().take(40).collect()))
    }
}

impl fmt::Display for ApiScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for ApiScope {
    type Error = UnknownApiScope;

    fn try_from(word: String) -> Result<Self, UnknownApiScope> {
        word.parse()
    }
}

impl From<ApiScope> for String {
    fn from(scope: ApiScope) -> Self {
        scope.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_votes_unless_it_was_made_for_that() {
        assert!(!ApiScope::DEFAULT.contains(&ApiScope::Approve));
        assert!(!ApiScope::APPROVER.contains(&ApiScope::Evaluate));
    }

    #[test]
    fn each_scope_has_its_word_and_the_error_names_them_all() {
        let error = "everything".parse::<ApiScope>().unwrap_err().to_string();
        for scope in ApiScope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert!(error.contains(&format!("`{scope}`")), "{error}");
        }
    }
}
