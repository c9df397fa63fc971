//! The compact serialization of a signed token (RFC 7515 §3.1): strict reading, and signing.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::header::{self, Header};
use crate::{Algorithm, Error, SigningKey};

/// The maximum length of a token in bytes, both to issue and to verify: 8 KiB, so that it fits into
/// an HTTP header.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token, split into its three parts. Each part has base64url characters only.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// The signed text: header, dot and payload.
    message: &'a str,
}

impl<'a> Compact<'a> {
    pub(crate) fn new(token: &'a str) -> Result<Self, Error> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::TooLong { bytes: token.len() });
        }
        let parts = token.rsplit_once('.').and_then(|(message, signature)| {
            let (header, payload) = message.split_once('.')?;
            Some(Self {
                header,
                payload,
                signature,
                message,
            })
        });
        let parts = parts.ok_or(NOT_THREE)?;
        if parts.payload.contains('.') {
            return Err(NOT_THREE);
        }
        match token.bytes().find(|b| !is_base64url(*b) && *b != b'.') {
            None => Ok(parts),
            Some(b'=') => malformed("its base64url is padded with `=`"),
            Some(b) if b.is_ascii_whitespace() => malformed("it contains white space"),
            Some(_) => malformed("it contains a character outside the base64url alphabet"),
        }
    }

    /// Reads the header.
    pub(crate) fn header(self) -> Result<Header, Error> {
        // Nearly every token has one of these headers, so parsing JSON is not needed for them.
        for algorithm in [Algorithm::Hs256, Algorithm::Es256] {
            if usual_headers(algorithm).contains(&self.header) {
                return Ok(Header {
                    algorithm: Cow::Borrowed(algorithm.name()),
                    key_id: None,
                });
            }
        }
        header::read(&decode(self.header, "its header is not base64url")?)
    }

    pub(crate) fn message(self) -> &'a [u8] {
        self.message.as_bytes()
    }

    pub(crate) fn signature(self) -> Result<Vec<u8>, Error> {
        decode(self.signature, "its signature is not base64url")
    }

    /// Decodes the JSON text of the claims.
    pub(crate) fn payload(self) -> Result<String, Error> {
        String::from_utf8(decode(self.payload, "its payload is not base64url")?)
            .or_else(|_| malformed("its payload is not UTF-8"))
    }
}

const NOT_THREE: Error = Error::Malformed {
    reason: "it does not have three parts with dots between them",
};

fn malformed<T>(reason: &'static str) -> Result<T, Error> {
    Err(Error::Malformed { reason })
}

fn is_base64url(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

/// Decodes base64url. Refuses unused bits after the last byte (RFC 4648 §3.5), with which the same
/// token could be written in two ways.
fn decode(part: &str, reason: &'static str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Error::Malformed { reason })
}

/// Returns the headers `{"alg":…,"typ":"JWT"}` and `{"typ":"JWT","alg":…}`, in base64url.
fn usual_headers(algorithm: Algorithm) -> [&'static str; 2] {
    match algorithm {
        Algorithm::Hs256 => [
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9",
        ],
        Algorithm::Es256 => [
            "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9",
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9",
        ],
    }
}

/// Signs `payload`, the JSON text of the claims, and returns the token.
pub(crate) fn sign(payload: &str, key: &SigningKey) -> Result<String, Error> {
    let mut token = match key.id() {
        Some(id) => URL_SAFE_NO_PAD.encode(header::write(key.algorithm(), id)?),
        None => {
            let [usual, _] = usual_headers(key.algorithm());
            usual.to_owned()
        }
    };
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::TooLong { bytes: token.len() });
    }
    Ok(token)
}
