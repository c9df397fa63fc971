//! The nonces of signed approvals, each of which counts once.

use atlasent::approval::Nonce;
use sha2::{Digest, Sha256};

/// The key of a nonce in stores: a digest of the organization and the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NonceKey([u8; 32]);

impl NonceKey {
    /// Returns the key of a nonce.
    #[must_use]
    pub fn new(nonce: &Nonce) -> Self {
        let digest = Sha256::new()
            .chain_update(Sha256::digest(&nonce.tenant_id))
            .chain_update(&nonce.value)
            .finalize();
        Self(digest.into())
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
