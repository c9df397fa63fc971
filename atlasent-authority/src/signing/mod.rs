//! The Ed25519 keys (RFC 8032) that sign exports and heads of the audit trail: one key, the ring of
//! an active key and its predecessors, and signed heads. The keys of ATI tokens are in
//! `ati-client`.

mod head;
mod ring;

use std::fmt;

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use ed25519_dalek::pkcs8::spki::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signature, SignatureError, Signer, VerifyingKey};
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::ledger::replay::random_bits;

pub use head::signed_head;
pub use ring::{ExportSigningKeyError, KeyRing};

/// A private key that signs exports. It prints its id only, and is wiped from memory when it is
/// dropped.
///
/// ```
/// use atlasent_authority::signing::ExportSigningKey;
///
/// let key = ExportSigningKey::generate()?;
/// let again = ExportSigningKey::from_pem(&key.to_pem()).unwrap();
/// assert_eq!(again.key_id(), key.key_id());
/// assert!(key.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
/// # Ok::<(), atlasent::Error>(())
/// ```
pub struct ExportSigningKey {
    key: ed25519_dalek::SigningKey,
    id: String,
    public_pem: String,
}

impl ExportSigningKey {
    /// Generates a key.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, atlasent::Error> {
        let seed = Zeroizing::new(random_bits()?);
        Ok(Self::from_dalek(ed25519_dalek::SigningKey::from_bytes(
            &seed,
        )))
    }

    /// Parses a key from PEM (PKCS#8, `-----BEGIN PRIVATE KEY-----`). Returns `None` for any other
    /// text.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim());
        key.ok().map(Self::from_dalek)
    }

    fn from_dalek(key: ed25519_dalek::SigningKey) -> Self {
        let public_pem = public_pem(&key.verifying_key());
        Self {
            id: key_id(&key.verifying_key()),
            public_pem,
            key,
        }
    }

    /// Returns the private key in PEM (PKCS#8). Keep it where only its owner can read it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "encoding a valid key cannot fail")]
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.key
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a key can be encoded")
    }

    /// Returns the id of the key, which its public half determines.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// Returns the public half in PEM (SPKI), which is enough to verify.
    #[must_use]
    pub fn public_key_pem(&self) -> &str {
        &self.public_pem
    }

    /// Signs a message in memory.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        self.key.sign(message)
    }

    /// Signs a message that is too long for memory. `write` passes it on piece by piece, twice.
    ///
    /// Ed25519 hashes the message twice. If the two readings differed, the signature could reveal
    /// the key, so a message that changes in between is an error.
    pub(crate) fn sign_in_pieces(
        &self,
        write: impl Fn(&mut dyn FnMut(&[u8])) -> std::io::Result<()>,
    ) -> std::io::Result<Signature> {
        let secret = ExpandedSecretKey::from(self.key.as_bytes());
        let digests = std::cell::RefCell::new(Vec::new());
        let failure = std::cell::Cell::new(None);
        let update = |hasher: &mut Sha512| {
            let mut digest = Sha256::new();
            let written = write(&mut |piece| {
                hasher.update(piece);
                digest.update(piece);
            });
            digests.borrow_mut().push(digest.finalize());
            written.map_err(|error| {
                failure.set(Some(error));
                SignatureError::new()
            })
        };
        let signed = raw_sign_byupdate::<Sha512, _>(&secret, update, &self.key.verifying_key());
        if let Some(error) = failure.take() {
            return Err(error);
        }
        let changed = || std::io::Error::other("the message changed while it was signed");
        match digests.borrow().as_slice() {
            [first, second] if first == second => signed.map_err(|_| changed()),
            _ => Err(changed()),
        }
    }
}

impl fmt::Debug for ExportSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExportSigningKey").field(&self.id).finish()
    }
}

#[expect(clippy::expect_used, reason = "encoding a valid key cannot fail")]
fn public_pem(key: &VerifyingKey) -> String {
    key.to_public_key_pem(LineEnding::LF)
        .expect("a key can be encoded")
}

fn key_id(key: &VerifyingKey) -> String {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    let short = base16ct::lower::encode_string(&[a, b, c, d, e, f, g, h]);
    format!("sig_{short}")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use ed25519_dalek::Verifier;

    use super::*;

    #[test]
    fn what_is_signed_in_pieces_is_signed_as_a_whole() {
        let key = ExportSigningKey::generate().unwrap();
        let signature = key.sign_in_pieces(|piece| {
            piece(b"a long ");
            piece(b"message");
            Ok(())
        });
        let verifying = key.key.verifying_key();
        assert!(
            verifying
                .verify(b"a long message", &signature.unwrap())
                .is_ok()
        );
    }

    #[test]
    fn nothing_is_signed_that_changes_meanwhile_or_cannot_be_read() {
        let key = ExportSigningKey::generate().unwrap();
        let reads = Cell::new(0_u8);
        let changed = key.sign_in_pieces(|piece| {
            reads.set(reads.get() + 1);
            piece(&[reads.get()]);
            Ok(())
        });
        assert!(changed.is_err());
        for failing in [1, 2] {
            let reads = Cell::new(0);
            let failed = key.sign_in_pieces(|_| {
                reads.set(reads.get() + 1);
                match reads.get() == failing {
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(()),
                }
            });
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_key_shows_its_id_only() {
        let key = ExportSigningKey::generate().unwrap();
        assert_eq!(
            format!("{key:?}"),
            format!("ExportSigningKey({:?})", key.key_id())
        );
        assert!(ExportSigningKey::from_pem(key.public_key_pem()).is_none());
    }
}
