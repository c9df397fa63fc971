//! Whether a permit that was issued still stands: one rule for everything that asks.

use jiff::Timestamp;

use crate::ledger::stops::{Killed, Stops};
use crate::ledger::{PermitEntry, VerifyRefusal};
use crate::policy::Policies;

/// Why a permit stands no longer.
pub(crate) enum Fallen {
    /// It is used up, revoked or expired.
    Closed(VerifyRefusal),
    /// A stop or a recall killed it.
    Killed(Killed),
    /// What decided about its action has changed.
    PolicyChanged,
}

impl Fallen {
    /// The refusal of a permit that has fallen.
    pub(crate) fn refusal(&self) -> VerifyRefusal {
        match self {
            Self::Closed(refusal) => *refusal,
            Self::Killed(killed) => killed.refusal(),
            Self::PolicyChanged => VerifyRefusal::PolicyChanged,
        }
    }
}

/// Checks that a permit stands under these stops and policies at `now`.
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
