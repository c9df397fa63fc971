//! The rules of the permit ledger: when a permit is valid, and how its state changes.
//!
//! A permit is issued, and then consumed, revoked or left to expire. These rules are pure functions
//! on values; a [`Store`](crate::store::Store) makes each change atomic.

pub(crate) mod outstanding;
pub(crate) mod permit_key;
pub(crate) mod replay;
pub(crate) mod standing;
pub(crate) mod stops;

pub use outstanding::{AgentKey, Outstanding};
pub use permit_key::{InvalidPermitId, PermitId, PermitKey};
pub use replay::{Replay, ReplayKey};
pub use stops::{Stop, Stops};

use atlasent::Agent;
use atlasent::error::PermitOutcome;
use atlasent::wire::{EvaluateRequest, PermitStatus, VerifyRequest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a permit authorizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The agent that may use the permit.
    pub agent: Agent,
    /// The action that the permit is for.
    pub action: String,
    /// The resource that the permit is for.
    pub resource: Option<String>,
    /// The environment that the permit is for. Unset when the request named none.
    pub environment: Option<String>,
    /// The hash of the action, agent and context that were decided on.
    pub execution_hash: String,
    /// The digest of the policies, schema and entities that decide about the action
    /// ([`Policies::action_digest`](crate::Policies::action_digest)). A permit without a digest was
    /// written by an earlier release and is refused.
    #[serde(default)]
    pub policy: Option<String>,
    /// The environment of the API key that the permit was granted to: `live` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_environment: Option<String>,
}

impl Grant {
    /// Creates the grant for `request` under policies with the digest `policy`. `execution_hash`
    /// replaces the hash of the request where it is set.
    #[must_use]
    pub fn of(request: &EvaluateRequest, execution_hash: Option<String>, policy: &str) -> Self {
        let in_context = request.context.get("environment");
        let environment = in_context
            .and_then(|value| value.as_str())
            .or(request.options.environment.as_deref());
        Self {
            agent: request.actor_id.clone(),
            action: request.action_type.clone(),
            resource: request.resource_id.clone(),
            environment: environment.map(str::to_owned),
            execution_hash: execution_hash.unwrap_or_else(|| request.execution_hash()),
            policy: Some(policy.to_owned()),
            key_environment: None,
        }
    }

    /// Returns whether a caller with an API key of this environment may see the permit. Code of the
    /// authority's process has no key and sees every permit.
    pub(crate) fn is_known_to(&self, key_environment: Option<&str>) -> bool {
        match (self.key_environment.as_deref(), key_environment) {
            (Some(granted), Some(asking)) => granted == asking,
            _ => true,
        }
    }

    fn covers(&self, request: &VerifyRequest) -> Result<(), VerifyRefusal> {
        // An empty field was not restated (contract, part B).
        let differs = |restated: &str, granted: &str| !restated.is_empty() && restated != granted;
        if differs(&request.actor_id, self.agent.as_str()) {
            return Err(VerifyRefusal::Mismatch(Mismatch::Actor));
        }
        if differs(&request.action_type, &self.action) {
            return Err(VerifyRefusal::Mismatch(Mismatch::Action));
        }
        if let Some(hash) = &request.execution_hash
            && *hash != self.execution_hash
        {
            return Err(VerifyRefusal::Mismatch(Mismatch::Execution));
        }
        // A permit that was granted without an environment does not fit any (contract, part B).
        if request.environment.is_some() && request.environment != self.environment {
            return Err(VerifyRefusal::Mismatch(Mismatch::Environment));
        }
        if request.require_approval == Some(true) {
            return Err(VerifyRefusal::ApprovalRequired);
        }
        Ok(())
    }
}

/// A permit in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitEntry {
    /// What the permit authorizes.
    pub grant: Grant,
    /// The sequence number of the event that issued the permit.
    #[serde(default)]
    pub sequence: u64,
    /// The id of the event that issued the permit.
    #[serde(default)]
    pub evaluation_id: String,
    /// When the permit was issued.
    #[serde(default)]
    pub issued_at: Timestamp,
    /// When the permit expires.
    pub expires_at: Timestamp,
    /// The state of the permit.
    pub state: PermitState,
    /// When the permit was used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_at: Option<Timestamp>,
    /// When and why the permit was revoked. Unset for a permit that was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

/// When, by which key and why a permit was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When the permit was revoked.
    pub at: Timestamp,
    /// The API key that revoked the permit. Unset for code of the authority's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why the permit was revoked.
    pub reason: String,
}

/// The state of a permit. Expiry is not a state: it follows from the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermitState {
    /// Issued and unused.
    Issued,
    /// Verified, or burnt by an attempt to verify it for something else.
    Consumed,
    /// Revoked before it was used.
    Revoked,
    /// Revoked after it was verified. Its body may have run; a body that starts late and calls
    /// [`Permit::recheck`](atlasent::Permit::recheck) is refused.
    Recalled,
}

impl PermitEntry {
    /// Creates an unused permit that is valid from `issued_at` until `expires_at`. The pair is the
    /// id and the sequence number of the event that issues it.
    #[must_use]
    pub fn issue(
        grant: Grant,
        (evaluation_id, sequence): (impl Into<String>, u64),
        issued_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            grant,
            sequence,
            evaluation_id: evaluation_id.into(),
            issued_at,
            expires_at,
            state: PermitState::Issued,
            consumed_at: None,
            revoked: None,
        }
    }

    /// Checks that the permit is unused, not revoked and not expired.
    ///
    /// # Errors
    ///
    /// The refusal of a permit that cannot be used.
    pub fn check_open(&self, now: Timestamp) -> Result<(), VerifyRefusal> {
        let outcome = match self.state {
            PermitState::Consumed | PermitState::Recalled => PermitOutcome::Consumed,
            PermitState::Revoked => PermitOutcome::Revoked,
            PermitState::Issued if now >= self.expires_at => PermitOutcome::Expired,
            PermitState::Issued => return Ok(()),
        };
        Err(VerifyRefusal::Permit(outcome))
    }

    /// Uses the permit up, and checks that it fits `request`.
    ///
    /// An attempt to use the permit for anything else burns it, since the caller presents a token
    /// that was not issued for its request.
    ///
    /// # Errors
    ///
    /// The refusal of a permit that does not fit.
    pub fn consume(
        &mut self,
        request: &VerifyRequest,
        now: Timestamp,
    ) -> Result<(), VerifyRefusal> {
        self.check_open(now)?;
        self.state = PermitState::Consumed;
        self.consumed_at = Some(now);
        self.grant.covers(request)
    }

    /// Returns whether the permit is used up or revoked.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.state != PermitState::Issued
    }

    /// Revokes the permit, unless it has expired. Returns whether it was unused, so that the
    /// revocation prevents its use.
    pub fn revoke(&mut self, now: Timestamp, by: Option<String>, reason: &str) -> bool {
        if now >= self.expires_at {
            return false;
        }
        let state = match self.state {
            PermitState::Issued => PermitState::Revoked,
            PermitState::Consumed => PermitState::Recalled,
            PermitState::Revoked | PermitState::Recalled => return false,
        };
        self.revoked = Some(Revoked {
            at: now,
            by,
            reason: reason.to_owned(),
        });
        self.state = state;
        state == PermitState::Revoked
    }

    /// Returns the status of the permit. A used permit expires, too: a body may not start on it any
    /// more.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> PermitStatus {
        match self.state {
            PermitState::Revoked | PermitState::Recalled => PermitStatus::Revoked,
            _ if now >= self.expires_at => PermitStatus::Expired,
            PermitState::Issued => PermitStatus::Issued,
            PermitState::Consumed => PermitStatus::Consumed,
        }
    }
}

/// Why a permit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerifyRefusal {
    /// The request has no token.
    Missing,
    /// The permit is used, expired, revoked or unknown.
    Permit(PermitOutcome),
    /// The permit was issued for something else.
    Mismatch(Mismatch),
    /// The request requires an approval, which the permit does not have.
    ApprovalRequired,
    /// A stop covers the permit, or covered it after it was issued.
    Stopped,
    /// The policies of the permit's action have changed since it was granted.
    PolicyChanged,
}

/// The field in which a permit does not fit the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
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
            Self::Mismatch(Mismatch::Actor) => "ACTOR_MISMATCH",
            Self::Mismatch(Mismatch::Action) => "ACTION_TYPE_MISMATCH",
            Self::Mismatch(Mismatch::Execution) => "EXECUTION_HASH_MISMATCH",
            Self::Mismatch(Mismatch::Environment) => "ENVIRONMENT_MISMATCH",
            Self::ApprovalRequired => "APPROVAL_REQUIRED",
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
            Self::Mismatch(Mismatch::Actor) => "the permit was issued to another agent",
            Self::Mismatch(Mismatch::Action) => "the permit was issued for another action",
            Self::Mismatch(Mismatch::Execution) => {
                "the permit was issued for another action, agent or context"
            }
            Self::Mismatch(Mismatch::Environment) => {
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

#[cfg(test)]
mod tests {
    use atlasent::AnyAction;
    use atlasent::wire::PermitToken;

    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_767_268_800, 0);

    fn after(seconds: i64) -> Timestamp {
        Timestamp::constant(1_767_268_800 + seconds, 0)
    }

    fn request() -> EvaluateRequest {
        let action = AnyAction::new("deploy")
            .and_then(|action| action.with_field("environment", "production"))
            .unwrap();
        EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
    }

    fn issued() -> PermitEntry {
        let grant = Grant::of(&request(), None, "digest");
        PermitEntry::issue(grant, ("event", 1), NOON, after(60))
    }

    fn question() -> VerifyRequest {
        VerifyRequest::restating(&request(), PermitToken::new("permit").unwrap())
    }

    #[test]
    fn a_permit_is_consumed_once() {
        let mut permit = issued();
        assert_eq!(permit.consume(&question(), NOON), Ok(()));
        assert_eq!(
            permit.consume(&question(), NOON),
            Err(VerifyRefusal::Permit(PermitOutcome::Consumed))
        );
    }

    #[test]
    fn a_permit_expires_at_its_time_and_not_before() {
        assert_eq!(issued().consume(&question(), after(59)), Ok(()));
        for late in [60, 61, 1_000_000] {
            assert_eq!(
                issued().consume(&question(), after(late)),
                Err(VerifyRefusal::Permit(PermitOutcome::Expired))
            );
        }
    }

    #[test]
    fn a_revoked_permit_is_not_good_and_a_used_one_cannot_be_revoked() {
        let mut permit = issued();
        assert!(permit.revoke(NOON, None, "why"));
        assert!(!permit.revoke(NOON, None, "why"));
        assert_eq!(
            permit.consume(&question(), NOON),
            Err(VerifyRefusal::Permit(PermitOutcome::Revoked))
        );
        let mut used = issued();
        used.consume(&question(), NOON).unwrap();
        assert!(!used.revoke(NOON, None, "why"));
        assert!(!issued().revoke(after(60), None, "why"));
    }

    #[test]
    fn a_used_permit_that_is_revoked_is_used_and_known_as_revoked() {
        let mut used = issued();
        used.consume(&question(), NOON).unwrap();
        assert_eq!(used.status(NOON), PermitStatus::Consumed);
        assert_eq!(used.status(after(60)), PermitStatus::Expired);
        assert!(!used.revoke(NOON, None, "why"));
        assert_eq!(used.status(NOON), PermitStatus::Revoked);
        assert!(used.is_spent());
        assert_eq!(
            used.consume(&question(), NOON),
            Err(VerifyRefusal::Permit(PermitOutcome::Consumed))
        );
        let mut late = issued();
        late.consume(&question(), NOON).unwrap();
        late.revoke(after(60), None, "why");
        assert_eq!(late.state, PermitState::Consumed);
    }

    #[test]
    fn a_permit_presented_for_something_else_is_refused_and_burnt() {
        type Change = fn(&mut VerifyRequest);
        let cases: [(Change, &str); 5] = [
            (|q| q.actor_id = "other".into(), "ACTOR_MISMATCH"),
            (|q| q.action_type = "other".into(), "ACTION_TYPE_MISMATCH"),
            (
                |q| q.execution_hash = Some("other".into()),
                "EXECUTION_HASH_MISMATCH",
            ),
            (
                |q| q.environment = Some("other".into()),
                "ENVIRONMENT_MISMATCH",
            ),
            (|q| q.require_approval = Some(true), "APPROVAL_REQUIRED"),
        ];
        for (change, code) in cases {
            let mut question = question();
            change(&mut question);
            let mut permit = issued();
            let refusal = permit.consume(&question, NOON).unwrap_err();
            assert_eq!(refusal.code(), code);
            assert_eq!(refusal.outcome(), None);
            assert!(refusal.burns());
            assert_eq!(permit.state, PermitState::Consumed, "{code}");
        }
    }

    #[test]
    fn a_permit_without_an_environment_is_not_good_for_one() {
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let grant = Grant::of(&request, None, "digest");
        let mut permit = PermitEntry::issue(grant, ("event", 1), NOON, after(60));
        let mut question = VerifyRequest::new(PermitToken::new("permit").unwrap());
        question.environment = Some("production".to_owned());
        let mismatch = VerifyRefusal::Mismatch(Mismatch::Environment);
        assert_eq!(permit.consume(&question, NOON), Err(mismatch));
    }

    #[test]
    fn a_permit_of_a_test_key_does_not_exist_for_a_live_key() {
        let mut grant = Grant::of(&request(), None, "digest");
        assert!(grant.is_known_to(Some("live")) && grant.is_known_to(None));
        grant.key_environment = Some("test".to_owned());
        assert!(!grant.is_known_to(Some("live")));
        assert!(grant.is_known_to(Some("test")) && grant.is_known_to(None));
    }

    #[test]
    fn what_is_not_restated_is_not_compared() {
        let bare = VerifyRequest::new(PermitToken::new("permit").unwrap());
        assert_eq!(issued().consume(&bare, NOON), Ok(()));
    }
}
