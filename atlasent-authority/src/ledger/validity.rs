//! The one rule for whether an issued permit can still be used.

use jiff::Timestamp;

use crate::ledger::stops::{KillCause, Stops};
use crate::ledger::{PermitEntry, PermitState, VerifyRefusal};
use crate::policy::Policies;

/// Why a permit cannot be used any more.
pub(crate) enum InvalidPermit {
    /// The permit is used up, revoked or expired.
    Closed(VerifyRefusal),
    /// A stop or a recall killed the permit.
    Killed(KillCause),
    /// The policies of the permit's action have changed.
    PolicyChanged,
}

impl InvalidPermit {
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
) -> Result<(), InvalidPermit> {
    let killed = stops.kill_cause(entry, now);
    if !is_ended_by(killed.as_ref(), entry) {
        entry.check_open(now).map_err(InvalidPermit::Closed)?;
    }
    if let Some(killed) = killed {
        return Err(InvalidPermit::Killed(killed));
    }
    let digest = policies.action_digest(&entry.grant.action);
    match entry.grant.policy.as_deref() == Some(digest) {
        true => Ok(()),
        false => Err(InvalidPermit::PolicyChanged),
    }
}

/// Whether an unused permit is recorded as revoked since this stop or recall killed it, and not by
/// an earlier revocation. Its refusal names the stop then, as before it was recorded.
fn is_ended_by(killed: Option<&KillCause>, entry: &PermitEntry) -> bool {
    let revoked = entry.revoked.as_deref();
    let revoked = revoked.filter(|_| entry.state == PermitState::Revoked);
    revoked
        .zip(killed)
        .is_some_and(|(revoked, killed)| killed.at <= revoked.at)
}
