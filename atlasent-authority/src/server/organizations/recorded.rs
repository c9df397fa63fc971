//! The last event that a chain has of an organization's policies.

use sha2::{Digest, Sha256};

use crate::policy::PolicyError;

/// The last event that a chain has of an organization's policies. An organization that comes back
/// into memory with the same policies, or with the same problems, adds no second event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// The digest of the policies that came into force.
    Loaded(String),
    /// The digest of the problems for which policies were refused.
    Refused([u8; 32]),
}

impl Recorded {
    /// Returns the event of refused policies.
    pub(super) fn refused(error: &PolicyError) -> Self {
        let mut hasher = Sha256::new();
        for problem in error.problems() {
            hasher.update(problem.to_string());
            hasher.update([0_u8]);
        }
        Self::Refused(hasher.finalize().into())
    }
}
