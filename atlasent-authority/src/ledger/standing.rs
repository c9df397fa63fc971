//! The one rule for whether an issued permit can still be used.

use jiff::Timestamp;

use crate::ledger::stops::{Killed, Stops};
use crate::ledger::{PermitEntry, VerifyRefusal};
use crate::policy::Policies;

/// Why a permit cannot be used any more.
pub(crate) enum Fallen {
    /// The permit is used up, revoked or expired.
    Closed(VerifyRefusal),
    /// A stop or a recall killed the permit.
    Killed(Killed),
    /// The policies of the permit's action have changed.
    PolicyChanged,
}

impl Fallen {
    /// Returns the refusal.
    pub(crate) fn refusal(&self) -> VerifyRefusal {
        match self {
            Self::Closed(refusal) => *refusal,
            Self::Killed(killed) => killed.refusal(),
            Self::PolicyChanged => VerifyRefusal::PolicyChanged,
        }
    }
}

/// Checks that a permit can be used at `now`, under these stops and policies.
pub(crate) fn check(
    entry: &PermitEntry,
    stops: &Stops,
    policies: &Policies,
    now: Timestamp,
) -> Result<(), Fallen> {
    entry.check_open(now).map_err(Fallen::Closed)?;
    if let Some(killed) = stops.killing(entry, now) {
        return Err(Fallen::Killed(killed));
    }
    let digest = policies.action_digest(&entry.grant.action);
    match entry.grant.policy.as_deref() == Some(digest) {
        true => Ok(()),
        false => Err(Fallen::PolicyChanged),
    }
}
