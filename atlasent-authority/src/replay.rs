//! The first answer to a request with an id, so that the same request gets the same answer (contract, part B).
//!
//! The store holds no token, not even to repeat one. A token is derived from a secret that the caller brings along, its
//! API key, and from a random number that is kept: whoever asks again gets the same token, whoever steals the store gets none.

use atlasent::{Code, Decision, Error, EvaluateRequest, Evaluation, Failure, PermitToken};
use base16ct::lower;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Who asks, as far as repeated requests are concerned.
///
/// ```
/// use atlasent_authority::Caller;
///
/// let caller = Caller::new("key_7", b"the API key itself");
/// assert_eq!(caller.id(), "key_7");
/// ```
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    id: &'a str,
    secret: &'a [u8],
}

impl<'a> Caller<'a> {
    /// A caller, and a secret of hers that no store holds.
    #[must_use]
    pub const fn new(id: &'a str, secret: &'a [u8]) -> Self {
        Self { id, secret }
    }

    /// The name under which the authority knows her.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id
    }
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Caller").field(&self.id).finish()
    }
}

/// Names a request of a caller: a digest of both ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayKey([u8; 32]);

impl ReplayKey {
    /// The name of the request that the caller gave this id.
    #[must_use]
    pub fn of(caller: &Caller<'_>, request_id: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(Sha256::digest(caller.id))
            .chain_update(request_id)
            .finalize();
        Self(digest.into())
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The first answer to a request with an id, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The hash of the request that was answered.
    pub(crate) request_hash: String,
    /// What the token is derived from, if there was one.
    pub(crate) nonce: Option<Nonce>,
    pub(crate) decision: Decision,
    pub(crate) reason: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) retry_after: Option<std::time::Duration>,
    pub(crate) permit_expires_at: Option<String>,
    pub(crate) audit_hash: Option<String>,
    pub(crate) timestamp: Option<String>,
    /// When the answer is forgotten.
    pub(crate) expires_at: Timestamp,
}

impl Replay {
    /// The answer, if the request is the same as the first one.
    pub(crate) fn answer(
        self,
        caller: &Caller<'_>,
        request_id: &str,
        request_hash: &str,
    ) -> Option<Result<Evaluation, Error>> {
        if self.request_hash != request_hash {
            return None;
        }
        let token = self.nonce.map(|nonce| nonce.token(caller)).transpose();
        Some(token.map(|token| {
            let mut evaluation = Evaluation::new(self.decision);
            evaluation.permit_token = token;
            evaluation.reason = self.reason;
            evaluation.code = self.code;
            evaluation.retry_after = self.retry_after;
            evaluation.expires_at = self.permit_expires_at;
            evaluation.audit_hash = self.audit_hash;
            evaluation.timestamp = self.timestamp;
            evaluation.request_id = Some(request_id.to_owned());
            evaluation
        }))
    }

    /// What is kept of an answer.
    pub(crate) fn of(
        evaluation: &Evaluation,
        nonce: Option<Nonce>,
        request_hash: String,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            request_hash,
            nonce,
            decision: evaluation.decision,
            reason: evaluation.reason.clone(),
            code: evaluation.code.clone(),
            retry_after: evaluation.retry_after,
            permit_expires_at: evaluation.expires_at.clone(),
            audit_hash: evaluation.audit_hash.clone(),
            timestamp: evaluation.timestamp.clone(),
            expires_at,
        }
    }
}

/// What makes two requests the same: the hash of all that they ask.
pub(crate) fn request_hash(request: &EvaluateRequest) -> Result<String, serde_json::Error> {
    let body = serde_json::to_vec(request)?;
    Ok(lower::encode_string(&Sha256::digest(body)))
}

/// The random half of a token: 256 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nonce([u8; 32]);

impl Nonce {
    pub(crate) fn random() -> Result<Self, Error> {
        random_bits().map(Self)
    }

    /// The token: HMAC-SHA256 (RFC 2104) of the number under the caller's secret.
    pub(crate) fn token(&self, caller: &Caller<'_>) -> Result<PermitToken, Error> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(caller.secret).expect("any length");
        let bits = mac
            .chain_update(b"atlasent permit\0")
            .chain_update(self.0)
            .finalize()
            .into_bytes();
        PermitToken::new(format!("permit_{}", lower::encode_string(&bits)))
    }
}

/// 256 bits that nobody can guess.
pub(crate) fn random_bits() -> Result<[u8; 32], Error> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| {
        Failure::new(
            Code::ServerError,
            "the system has no randomness for a permit",
        )
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
        let key = |caller: &str, id: &str| ReplayKey::of(&Caller::new(caller, b""), id);
        assert_eq!(key("a", "b"), key("a", "b"));
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("a", "b"), key("a", "c"));
    }

    #[test]
    fn a_caller_does_not_show_its_secret() {
        assert_eq!(
            format!("{:?}", Caller::new("k", b"hunter2")),
            r#"Caller("k")"#
        );
    }
}
