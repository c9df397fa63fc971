//! The rules of the permit ledger: when a permit is good, and what becomes of it.
//!
//! A permit is issued, and then consumed, revoked or left to expire. What is here is pure; a
//! [`Store`](crate::Store) makes each change atomic.

use atlasent::{Agent, EvaluateRequest, PermitOutcome, PermitStatus, PermitToken, VerifyRequest};
use base16ct::lower;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How a store knows a permit: by a digest of its token, so that a stolen store holds no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PermitKey([u8; 32]);

impl PermitKey {
    /// The key of a token.
    #[must_use]
    pub fn of(token: &PermitToken) -> Self {
        Self(Sha256::digest(token.expose()).into())
    }

    /// Reads the key from a permit's hash, as [`to_hex`](Self::to_hex) writes it.
    #[must_use]
    pub fn from_hex(hash: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let read = lower::decode(hash, &mut digest).ok()?;
        (read.len() == digest.len()).then_some(Self(digest))
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The permit's hash in answers and audit events: the digest in lower-case hex.
    #[must_use]
    pub fn to_hex(self) -> String {
        lower::encode_string(&self.0)
    }
}

/// What a permit is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who may use it.
    pub agent: Agent,
    /// What for.
    pub action: String,
    /// On what.
    pub resource: Option<String>,
    /// In which environment, when the request named one.
    pub environment: Option<String>,
    /// The hash of the action, agent and context that were decided on.
    pub execution_hash: String,
}

impl Grant {
    /// What a permit for `request` is good for. Its hash is the request's own, unless another one
    /// is given.
    #[must_use]
    pub fn of(request: &EvaluateRequest, execution_hash: Option<String>) -> Self {
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
        }
    }

    fn covers(&self, request: &VerifyRequest) -> Result<(), Refusal> {
        // Empty means "not restated" (contract, part B).
        let differs = |restated: &str, granted: &str| !restated.is_empty() && restated != granted;
        if differs(&request.actor_id, self.agent.as_str()) {
            return Err(Refusal::Mismatch(Mismatch::Actor));
        }
        if differs(&request.action_type, &self.action) {
            return Err(Refusal::Mismatch(Mismatch::Action));
        }
        if let Some(hash) = &request.execution_hash
            && *hash != self.execution_hash
        {
            return Err(Refusal::Mismatch(Mismatch::Execution));
        }
        if let (Some(restated), Some(granted)) = (&request.environment, &self.environment)
            && restated != granted
        {
            return Err(Refusal::Mismatch(Mismatch::Environment));
        }
        if request.require_approval == Some(true) {
            return Err(Refusal::ApprovalRequired);
        }
        Ok(())
    }
}

/// What the ledger knows of a permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitEntry {
    /// What it is good for.
    pub grant: Grant,
    /// When it stops being good.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: PermitState,
}

/// What became of a permit. That it expired follows from the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermitState {
    /// It was handed out and not used yet.
    Issued,
    /// It was verified, or burnt by an attempt to verify it for something else.
    Consumed,
    /// It was taken back.
    Revoked,
    /// It was verified, and revoked afterwards. Its body may have run; one that starts late and
    /// asks again ([`Permit::recheck`](atlasent::Permit::recheck)) is refused.
    Recalled,
}

impl PermitEntry {
    /// A permit that waits to be used until `expires_at`.
    #[must_use]
    pub fn issue(grant: Grant, expires_at: Timestamp) -> Self {
        Self {
            grant,
            expires_at,
            state: PermitState::Issued,
        }
    }

    /// Uses the permit up, if it is good for `request`.
    ///
    /// An attempt to use it for anything else burns it: the caller holds a token that is not its own.
    ///
    /// # Errors
    ///
    /// Why it is not good.
    pub fn consume(&mut self, request: &VerifyRequest, now: Timestamp) -> Result<(), Refusal> {
        match self.state {
            PermitState::Consumed | PermitState::Recalled => {
                return Err(Refusal::Permit(PermitOutcome::Consumed));
            }
            PermitState::Revoked => return Err(Refusal::Permit(PermitOutcome::Revoked)),
            PermitState::Issued if now >= self.expires_at => {
                return Err(Refusal::Permit(PermitOutcome::Expired));
            }
            PermitState::Issued => {}
        }
        self.state = PermitState::Consumed;
        self.grant.covers(request)
    }

    /// Whether there is nothing left to use.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.state != PermitState::Issued
    }

    /// Revokes the permit, unless its time has passed. Returns whether it was unused, so that
    /// nothing runs on it any more.
    pub fn revoke(&mut self, now: Timestamp) -> bool {
        if now >= self.expires_at {
            return false;
        }
        match self.state {
            PermitState::Issued => {
                self.state = PermitState::Revoked;
                true
            }
            PermitState::Consumed => {
                self.state = PermitState::Recalled;
                false
            }
            PermitState::Revoked | PermitState::Recalled => false,
        }
    }

    /// Returns what the permit is now. Expiry counts for a used permit, too: a body may not start
    /// on it any more.
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

/// Why a permit is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No token was sent.
    Missing,
    /// The permit itself is used, expired, revoked or unknown.
    Permit(PermitOutcome),
    /// The permit was issued for something else.
    Mismatch(Mismatch),
    /// A person's approval was asked for, and this authority has nobody to give one.
    ApprovalRequired,
}

/// What a permit was issued for that is not what it was presented for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
    /// Another agent.
    Actor,
    /// Another action.
    Action,
    /// Another action, agent or context.
    Execution,
    /// Another environment.
    Environment,
}

impl Refusal {
    /// The cause, when it is one of the four that the contract has words for.
    #[must_use]
    pub fn outcome(self) -> Option<PermitOutcome> {
        match self {
            Self::Permit(outcome) => Some(outcome),
            Self::Missing | Self::Mismatch(_) | Self::ApprovalRequired => None,
        }
    }

    /// Whether the attempt used the permit up although it was refused.
    #[must_use]
    pub fn burns(self) -> bool {
        match self {
            Self::Mismatch(_) | Self::ApprovalRequired => true,
            Self::Missing | Self::Permit(_) => false,
        }
    }

    /// The contract's `verify_error_code`.
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
        }
    }

    /// The reason, for people.
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
        }
    }
}

#[cfg(test)]
mod tests {
    use atlasent::AnyAction;

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
        PermitEntry::issue(Grant::of(&request(), None), after(60))
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
            Err(Refusal::Permit(PermitOutcome::Consumed))
        );
    }

    #[test]
    fn a_permit_expires_at_its_time_and_not_before() {
        assert_eq!(issued().consume(&question(), after(59)), Ok(()));
        for late in [60, 61, 1_000_000] {
            assert_eq!(
                issued().consume(&question(), after(late)),
                Err(Refusal::Permit(PermitOutcome::Expired))
            );
        }
    }

    #[test]
    fn a_revoked_permit_is_not_good_and_a_used_one_cannot_be_revoked() {
        let mut permit = issued();
        assert!(permit.revoke(NOON));
        assert!(!permit.revoke(NOON));
        assert_eq!(
            permit.consume(&question(), NOON),
            Err(Refusal::Permit(PermitOutcome::Revoked))
        );
        let mut used = issued();
        used.consume(&question(), NOON).unwrap();
        assert!(!used.revoke(NOON));
        assert!(!issued().revoke(after(60)));
    }

    #[test]
    fn a_used_permit_that_is_revoked_is_used_and_known_as_revoked() {
        let mut used = issued();
        used.consume(&question(), NOON).unwrap();
        assert_eq!(used.status(NOON), PermitStatus::Consumed);
        assert_eq!(used.status(after(60)), PermitStatus::Expired);
        assert!(!used.revoke(NOON));
        assert_eq!(used.status(NOON), PermitStatus::Revoked);
        assert!(used.is_spent());
        assert_eq!(
            used.consume(&question(), NOON),
            Err(Refusal::Permit(PermitOutcome::Consumed))
        );
        let mut late = issued();
        late.consume(&question(), NOON).unwrap();
        late.revoke(after(60));
        assert_eq!(late.state, PermitState::Consumed);
    }

    #[test]
    fn a_key_is_read_from_the_hash_that_it_writes_and_from_nothing_else() {
        let key = PermitKey::of(&PermitToken::new("abc").unwrap());
        assert_eq!(PermitKey::from_hex(&key.to_hex()), Some(key));
        for hash in [
            "",
            "abc",
            &"0".repeat(62),
            &key.to_hex().to_uppercase(),
            &"00".repeat(33),
        ] {
            assert_eq!(PermitKey::from_hex(hash), None, "{hash}");
        }
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
    fn what_is_not_restated_is_not_compared() {
        let bare = VerifyRequest::new(PermitToken::new("permit").unwrap());
        assert_eq!(issued().consume(&bare, NOON), Ok(()));
    }

    #[test]
    fn a_key_does_not_show_the_token() {
        let key = PermitKey::of(&PermitToken::new("abc").unwrap());
        assert_eq!(
            key.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
