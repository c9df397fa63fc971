//! Parses secrets for HS256, which are written in hex.

use zeroize::Zeroizing;

use crate::Error;
use crate::crypto::Hs256;

/// The minimum length of an HS256 secret in bytes (RFC 7518 §3.2).
const MIN_BYTES: usize = 32;

/// Parses a secret of at least 32 bytes.
pub(crate) fn parse_strong(hex: &str) -> Result<Hs256, Error> {
    let secret = decode(hex)?;
    if secret.len() < MIN_BYTES {
        return Err(Error::WeakSecret {
            bytes: secret.len(),
        });
    }
    Hs256::new(&secret)
}

/// Parses a secret of any length above zero.
pub(crate) fn parse_any_length(hex: &str) -> Result<Hs256, Error> {
    Hs256::new(&decode(hex)?)
}

fn decode(hex: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bad_secret = |reason| Err(Error::BadSecret { reason });
    if hex.is_empty() {
        return bad_secret("it is empty");
    }
    if hex.contains(char::is_whitespace) {
        return bad_secret("it contains white space");
    }
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return bad_secret("it is not hex");
    }
    base16ct::mixed::decode_vec(hex)
        .map(Zeroizing::new)
        .or_else(|_| bad_secret("it has an odd number of characters"))
}
