//! The id of an organization.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

/// The longest id.
const LONGEST: usize = 64;

/// The id of an organization: 1 to 64 of the characters `a` to `z`, `0` to `9`, `-` and `_`. The
/// first one is a letter or a digit.
///
/// An organization has a ledger and a chain of its own. A store that was never asked for another
/// organization holds one, [`local`](Self::local).
///
/// ```
/// use atlasent_authority::store::OrgId;
///
/// let acme: OrgId = "acme-eu_1".parse()?;
/// assert_eq!(acme.as_str(), "acme-eu_1");
/// assert!("Acme".parse::<OrgId>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrgId(Arc<str>);

/// Why a text is not the id of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an organization's id has 1 to 64 of the characters `a` to `z`, `0` to `9`, `-` and `_`, and begins with a letter \
     or a digit"
)]
#[non_exhaustive]
pub struct InvalidOrgId;

impl OrgId {
    /// Returns the id `local`: that of the organization that every store has.
    #[must_use]
    pub fn local() -> Self {
        static LOCAL: LazyLock<OrgId> = LazyLock::new(|| OrgId("local".into()));
        LOCAL.clone()
    }

    /// Returns whether this is [`local`](Self::local).
    #[must_use]
    pub fn is_local(&self) -> bool {
        &*self.0 == "local"
    }

    /// Returns the name of a counter that no other organization shares.
    #[cfg(any(feature = "redb", feature = "postgres"))]
    pub(crate) fn counter<'a>(&self, name: &'a str) -> std::borrow::Cow<'a, str> {
        match self.is_local() {
            true => name.into(),
            false => format!("{self}/{name}").into(),
        }
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrgId {
    type Err = InvalidOrgId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins_well = text.bytes().next().is_some_and(is_plain);
        let is_valid = begins_well
            && text.len() <= LONGEST
            && text
                .bytes()
                .all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'));
        if is_valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidOrgId)
        }
    }
}

impl TryFrom<String> for OrgId {
    type Error = InvalidOrgId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OrgId> for String {
    fn from(id: OrgId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl Borrow<str> for OrgId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Default for OrgId {
    /// Returns [`local`](Self::local).
    fn default() -> Self {
        Self::local()
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_safe_as_a_name_of_files_tables_and_metrics() {
        for valid in ["a", "0", "acme", "acme-eu_1", &"a".repeat(64)] {
            assert_eq!(valid.parse::<OrgId>().unwrap().as_str(), valid);
        }
        let long = "a".repeat(65);
        for invalid in [
            "", "-a", "_a", "A", "a.b", "a/b", "..", "a b", "ä", "a\n", "a\0", "a%2f", &long,
        ] {
            assert_eq!(invalid.parse::<OrgId>(), Err(InvalidOrgId), "{invalid:?}");
        }
        assert!(serde_json::from_str::<OrgId>(r#""../etc""#).is_err());
    }

    #[test]
    fn local_is_the_default() {
        assert_eq!(OrgId::default(), "local".parse().unwrap());
        assert!(OrgId::default().is_local() && !"locals".parse::<OrgId>().unwrap().is_local());
    }
}
