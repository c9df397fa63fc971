//! A permit in the ledger: its states, and the changes between them.

use std::sync::Arc;

use atlasent::error::PermitOutcome;
use atlasent::wire::{PermitStatus, VerifyRequest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::budget::{BudgetKey, Charge};
use crate::ledger::stops::KillCause;
use crate::ledger::{PermitGrant, RecordedEnd, VerifyRefusal};

/// A permit in the ledger. Clones share its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitEntry {
    /// What the permit authorizes.
    pub grant: PermitGrant,
    /// The sequence number of the event that issued the permit.
    #[serde(default)]
    pub sequence: u64,
    /// The id of the event that issued the permit.
    #[serde(default)]
    pub evaluation_id: Arc<str>,
    /// When the permit was issued.
    #[serde(default)]
    pub issued_at: Timestamp,
    /// When the permit expires.
    pub expires_at: Timestamp,
    /// Whether the permit is part of the count of all agents' unused permits
    /// ([`max_permits`](crate::LocalAuthorityBuilder::max_permits)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_total: bool,
    /// What the permit takes from budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
    /// The state of the permit.
    pub state: PermitState,
    /// When the permit was used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_at: Option<Timestamp>,
    /// Whether an attempt to verify the permit for something else used it up, so that no body may
    /// run under it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub burnt: bool,
    /// How the permit's body ended. Unset until its receipt arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Arc<RecordedEnd>>,
    /// When and why the permit was revoked. Unset for a permit that was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Box<Revoked>>,
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
    /// The id of the HTTP call (`X-Request-ID`) that revoked the permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The hash of the event that records the revocation. Unset for a permit that a verification
    /// found revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_hash: Option<String>,
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
        grant: PermitGrant,
        (evaluation_id, sequence): (impl Into<Arc<str>>, u64),
        issued_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            grant,
            sequence,
            evaluation_id: evaluation_id.into(),
            issued_at,
            expires_at,
            in_total: false,
            charges: Vec::new(),
            state: PermitState::Issued,
            consumed_at: None,
            burnt: false,
            end: None,
            revoked: None,
        }
    }

    /// Returns the keys of the budgets that the permit takes from.
    pub fn budgets(&self) -> impl Iterator<Item = BudgetKey> {
        self.charges.iter().map(|charge| charge.key)
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
        let covered = self.grant.covers(request);
        self.burnt = covered.is_err();
        covered
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
        self.revoked = Some(Box::new(Revoked {
            at: now,
            by,
            reason: reason.to_owned(),
            request_id: None,
            audit_hash: None,
        }));
        self.state = state;
        state == PermitState::Revoked
    }

    /// Revokes the permit, unless it has expired, as of the stop or recall that killed it.
    pub(crate) fn kill(&mut self, killed: KillCause, now: Timestamp) -> bool {
        let is_unused = self.revoke(now, killed.by, &killed.reason);
        if let Some(revoked) = self.revoked.as_mut().filter(|_| is_unused) {
            revoked.at = killed.at;
        }
        is_unused
    }

    /// Returns the revocation by the same call, which is sent again when its answer was lost: it
    /// has the same API key, `X-Request-ID` and reason.
    pub(crate) fn revoked_by_same_call(
        &self,
        by: Option<&str>,
        request_id: Option<&str>,
        reason: &str,
    ) -> Option<&Revoked> {
        request_id?;
        let revoked = self.revoked.as_deref()?;
        let is_same = revoked.request_id.as_deref() == request_id
            && revoked.by.as_deref() == by
            && revoked.reason == reason;
        is_same.then_some(revoked)
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
