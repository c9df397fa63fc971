//! Why a permit is refused.

use atlasent::error::PermitOutcome;

/// Why a permit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerifyRefusal {
    /// The request has no token.
    Missing,
    /// The permit is used, expired, revoked or unknown.
    Permit(PermitOutcome),
    /// The permit was issued for something else.
    Mismatch(PermitMismatch),
    /// The request requires an approval, which the permit does not have.
    ApprovalRequired,
    /// A stop covers the permit, or covered it after it was issued.
    Stopped,
    /// The policies of the permit's action have changed since it was granted.
    PolicyChanged,
}

/// The field in which a permit does not fit the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermitMismatch {
    /// The permit was issued to another agent.
    Actor,
    /// The permit was issued for another action.
    Action,
    /// The permit was issued for another action, agent or context.
    Execution,
    /// The permit was issued for another environment.
    Environment,
}

impl VerifyRefusal {
    /// Returns the outcome, where it is one of the four that the contract names.
    #[must_use]
    pub fn outcome(self) -> Option<PermitOutcome> {
        match self {
            Self::Permit(outcome) => Some(outcome),
            Self::Missing
            | Self::Mismatch(_)
            | Self::ApprovalRequired
            | Self::Stopped
            | Self::PolicyChanged => None,
        }
    }

    /// Returns whether the refused attempt used the permit up.
    #[must_use]
    pub fn burns(self) -> bool {
        match self {
            Self::Mismatch(_) | Self::ApprovalRequired => true,
            Self::Missing | Self::Permit(_) | Self::Stopped | Self::PolicyChanged => false,
        }
    }

    /// Returns the contract's `verify_error_code`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "MISSING_PERMIT",
            Self::Permit(outcome) => outcome.error_code(),
            Self::Mismatch(PermitMismatch::Actor) => "ACTOR_MISMATCH",
            Self::Mismatch(PermitMismatch::Action) => "ACTION_TYPE_MISMATCH",
            Self::Mismatch(PermitMismatch::Execution) => "EXECUTION_HASH_MISMATCH",
            Self::Mismatch(PermitMismatch::Environment) => "ENVIRONMENT_MISMATCH",
            Self::ApprovalRequired => "APPROVAL_LINKAGE_MISSING",
            Self::Stopped => "STOPPED",
            Self::PolicyChanged => "POLICY_CHANGED",
        }
    }

    /// Returns the reason, for people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "no permit token was sent",
            Self::Permit(PermitOutcome::Consumed) => "the permit was used before",
            Self::Permit(PermitOutcome::Expired) => "the permit has expired",
            Self::Permit(PermitOutcome::Revoked) => "the permit was revoked",
            Self::Permit(_) => "no such permit",
            Self::Mismatch(PermitMismatch::Actor) => "the permit was issued to another agent",
            Self::Mismatch(PermitMismatch::Action) => "the permit was issued for another action",
            Self::Mismatch(PermitMismatch::Execution) => {
                "the permit was issued for another action, agent or context"
            }
            Self::Mismatch(PermitMismatch::Environment) => {
                "the permit was issued for another environment"
            }
            Self::ApprovalRequired => "an approval is required, and the permit has none",
            Self::Stopped => "a stop was set that covers the permit: ask again when it is lifted",
            Self::PolicyChanged => {
                "the policies that granted the permit have changed: ask for a new one"
            }
        }
    }
}
