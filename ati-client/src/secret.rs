//! Secrets for HS256, as they are written: hex.

use zeroize::Zeroizing;

use crate::Error;
use crate::crypto::Hs256;

/// The fewest bytes that HS256 may have (RFC 7518 §3.2).
const STRONG: usize = 32;

/// A secret of at least 32 bytes.
pub(crate) fn strong(hex: &str) -> Result<Hs256, Error> {
    let secret = decode(hex)?;
    if secret.len() < STRONG {
        return Err(Error::WeakSecret {
            bytes: secret.len(),
        });
    }
    Hs256::new(&secret)
}

/// A secret of any length but none.
pub(crate) fn any(hex: &str) -> Result<Hs256, Error> {
    Hs256::new(&decode(hex)?)
}

fn decode(hex: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let refused = |reason| Err(Error::BadSecret { reason });
    if hex.is_empty() {
        return refused("it is empty");
    }
    if hex.contains(char::is_whitespace) {
        return refused("it holds white space");
    }
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return refused("it is not hex");
    }
    base16ct::mixed::decode_vec(hex)
        .map(Zeroizing::new)
        .or_else(|_| refused("it has an odd number of characters"))
}
