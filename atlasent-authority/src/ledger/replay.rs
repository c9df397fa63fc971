//! Replays: a repeated request with an id gets the permit of the first one (contract, part B).
//!
//! The store holds no token. A token is derived from a secret that the caller sends with each
//! request, its API key, and a random number that the store keeps. The caller that repeats its
//! request gets the same token; a thief of the store gets none.

use atlasent::error::{Code, Failure};
use atlasent::wire::{BudgetState, EvaluateRequest, Evaluation, PermitToken};
use atlasent::{Decision, Error};
use base16ct::lower;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ledger::permit_key::PermitKey;
use crate::local::caller::Caller;

/// The key of a caller's request: a digest of both ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayKey([u8; 32]);

impl ReplayKey {
    /// Returns the key of the request that the caller gave this id.
    #[must_use]
    pub fn new(caller: &Caller<'_>, request_id: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(Sha256::digest(caller.id()))
            .chain_update(request_id)
            .finalize();
        Self(digest.into())
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The allow that a request with an id got, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The hash of the answered request.
    pub(crate) request_hash: String,
    /// The permit that was issued. Unset in answers that an earlier release kept, which are not
    /// given again.
    #[serde(default)]
    pub(crate) permit: Option<PermitKey>,
    /// The random number that the token is derived from.
    pub(crate) nonce: Option<Nonce>,
    reason: Option<String>,
    permit_expires_at: Option<String>,
    audit_hash: Option<String>,
    timestamp: Option<String>,
    #[serde(default)]
    policy_version: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    budgets: Vec<BudgetState>,
    /// The id of the decision by which approvers released the permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    escalation_id: Option<String>,
    /// When the replay expires.
    pub(crate) expires_at: Timestamp,
}

impl Replay {
    /// Returns the evaluation for the caller that got it before.
    pub(crate) fn answer(
        self,
        caller: &Caller<'_>,
        request_id: Option<String>,
    ) -> Result<Evaluation, Error> {
        let mut evaluation = Evaluation::new(Decision::Allow);
        let token = self.nonce.map(|nonce| nonce.token(caller)).transpose()?;
        evaluation.permit_token = token;
        evaluation.permit_id = self.permit.map(|key| key.id().to_string());
        evaluation.reason = self.reason;
        evaluation.expires_at = self.permit_expires_at;
        evaluation.audit_hash = self.audit_hash;
        evaluation.timestamp = self.timestamp;
        evaluation.policy_version = self.policy_version;
        evaluation.budgets = self.budgets;
        evaluation.escalation_id = self.escalation_id;
        evaluation.request_id = request_id;
        Ok(evaluation)
    }

    /// Creates the replay of an allow.
    pub(crate) fn new(
        evaluation: &Evaluation,
        (permit, nonce): (PermitKey, Nonce),
        request_hash: String,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            request_hash,
            permit: Some(permit),
            nonce: Some(nonce),
            reason: evaluation.reason.clone(),
            permit_expires_at: evaluation.expires_at.clone(),
            audit_hash: evaluation.audit_hash.clone(),
            timestamp: evaluation.timestamp.clone(),
            policy_version: evaluation.policy_version.clone(),
            budgets: evaluation.budgets.clone(),
            escalation_id: evaluation.escalation_id.clone(),
            expires_at,
        }
    }
}

/// Returns the hash of everything that a request asks. Two requests with one hash are the same.
pub(crate) fn request_hash(request: &EvaluateRequest) -> Result<String, serde_json::Error> {
    let body = serde_json::to_vec(request)?;
    Ok(lower::encode_string(&Sha256::digest(body)))
}

/// The random number of a token: 256 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nonce([u8; 32]);

impl Nonce {
    pub(crate) fn random() -> Result<Self, Error> {
        random_bits().map(Self)
    }

    /// Returns the token: HMAC-SHA256 (RFC 2104) of the number under the caller's secret.
    pub(crate) fn token(&self, caller: &Caller<'_>) -> Result<PermitToken, Error> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(caller.secret()).expect("any length");
        let bits = mac
            .chain_update(b"atlasent permit\0")
            .chain_update(self.0)
            .finalize()
            .into_bytes();
        let mut text = [0; PREFIX.len() + 64];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        #[expect(clippy::expect_used, reason = "32 bytes have 64 digits")]
        lower::encode(&bits, digits).expect("64 digits");
        #[expect(clippy::expect_used, reason = "the prefix and the digits are ASCII")]
        let text = str::from_utf8(&text).expect("ASCII");
        PermitToken::new(text)
    }
}

/// What the text of a permit token begins with.
const PREFIX: &[u8] = b"permit_";

/// Returns 256 unguessable bits.
pub(crate) fn random_bits() -> Result<[u8; 32], Error> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| {
        Failure::new(Code::ServerError, "the system has no randomness")
            .with_source(std::io::Error::other(error))
    })?;
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_both_its_halves() {
        let (one, other) = (Nonce::random().unwrap(), Nonce::random().unwrap());
        let (mine, yours) = (Caller::new("k", b"mine"), Caller::new("k", b"yours"));
        let token = one.token(&mine).unwrap();
        assert_eq!(one.token(&mine).unwrap(), token);
        assert_ne!(one.token(&yours).unwrap(), token);
        assert_ne!(other.token(&mine).unwrap(), token);
        assert_eq!(token.expose().len(), "permit_".len() + 64);
    }

    #[test]
    fn no_two_requests_share_a_name() {
        let key = |caller: &str, id: &str| ReplayKey::new(&Caller::new(caller, b""), id);
        assert_eq!(key("a", "b"), key("a", "b"));
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("a", "b"), key("a", "c"));
    }
}
