//! The organizations of a server: which ones it serves beside `local`, and the limits of each.
//!
//! An organization has API keys, policies, a ledger and a chain of its own. This module has the
//! registry: a file ([`OrgFile`]) or a table of the database that several servers share. The
//! ledgers and chains are the store's ([`Organizations`](crate::store::Organizations)).

#[cfg(feature = "postgres")]
mod database;
mod file;

use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroU64};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use file::{OrgFile, OrgFileError};

use crate::json_file::FileRecord;
use crate::store::OrgId;

/// Why `local` is refused wherever organizations are created or changed.
const LOCAL: &str = "`local` is the organization that every store has";

/// An organization in the registry.
///
/// ```
/// use std::num::NonZeroU64;
/// use atlasent_authority::organizations::Organization;
///
/// let mut acme = Organization::new("acme".parse()?);
/// acme.name = Some("Acme Inc.".to_owned());
/// acme.limits.rate_limit_per_minute = NonZeroU64::new(6_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Organization {
    /// The organization's id. It never changes.
    pub id: OrgId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the organization was created.
    pub created_at: Timestamp,
    /// Since when and why the organization is suspended; `None` if it is not. Each request with one
    /// of its keys is refused meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspension>,
    /// What the organization may use.
    #[serde(default, skip_serializing_if = "OrgLimits::is_unlimited")]
    pub limits: OrgLimits,
    /// How many days events stay in the store before they are archived; `None` for as many as the
    /// server is set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_days: Option<NonZeroU32>,
}

/// The suspension of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suspension {
    /// When the organization was suspended.
    pub at: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// What an organization may use. `None` sets no limit of the organization's own; the limits of the
/// server apply to all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OrgLimits {
    /// Calls per minute of all its API keys together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_minute: Option<NonZeroU64>,
    /// Unused permits at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_permits: Option<NonZeroU64>,
    /// Decisions that wait for approvers at a time. A limit above that of the server changes
    /// nothing: [`max_approvals`](crate::LocalAuthorityBuilder::max_approvals).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_approvals: Option<NonZeroU64>,
    /// Events kept in the store, beyond which evaluations are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_events: Option<NonZeroU64>,
}

impl Organization {
    /// Creates an organization without a name and without limits, as of now.
    #[must_use]
    pub fn new(id: OrgId) -> Self {
        Self {
            id,
            name: None,
            created_at: Timestamp::now(),
            suspended: None,
            limits: OrgLimits::default(),
            retain_days: None,
        }
    }
}

impl Suspension {
    /// Creates a suspension, as of now.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            at: Timestamp::now(),
            reason: reason.into(),
        }
    }
}

impl OrgLimits {
    fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

impl FileRecord for Organization {
    /// People edit files by hand: a second record of an id, or one of `local`, would be ignored
    /// where they expect a suspension.
    fn check(organizations: &[Self]) -> Result<(), String> {
        let mut ids = HashSet::new();
        for Self { id, .. } in organizations {
            if id.is_local() {
                return Err(LOCAL.to_owned());
            }
            if !ids.insert(id) {
                return Err(format!("the organization `{id}` is listed twice"));
            }
        }
        Ok(())
    }
}

/// Applies a change to an organization, whose id stays as it is.
fn change<T>(organization: &mut Organization, change: impl FnOnce(&mut Organization) -> T) -> T {
    let id = organization.id.clone();
    let result = change(organization);
    organization.id = id;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_only_its_id_and_time_has_no_limits_and_is_stored_as_short() {
        let text = r#"{"id":"acme","created_at":"2026-01-01T00:00:00Z"}"#;
        let organization: Organization = serde_json::from_str(text).unwrap();
        assert_eq!(organization.limits, OrgLimits::default());
        assert_eq!(organization.suspended, None);
        assert_eq!(serde_json::to_string(&organization).unwrap(), text);
    }

    #[test]
    fn a_record_with_a_member_of_a_later_release_is_read() {
        let text = r#"{"id":"acme","created_at":"2026-01-01T00:00:00Z","later":1,
            "limits":{"max_permits":5,"later":2},"suspended":{"at":"2026-01-01T00:00:00Z","reason":"r","by":"x"}}"#;
        let organization: Organization = serde_json::from_str(text).unwrap();
        assert_eq!(organization.limits.max_permits, NonZeroU64::new(5));
        assert!(organization.suspended.is_some());
    }

    #[test]
    fn a_limit_of_zero_is_an_error() {
        for limit in [
            "rate_limit_per_minute",
            "max_permits",
            "max_approvals",
            "max_events",
        ] {
            let text = format!(r#"{{"{limit}": 0}}"#);
            assert!(serde_json::from_str::<OrgLimits>(&text).is_err(), "{limit}");
        }
    }
}
