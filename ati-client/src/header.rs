//! The header of a token (RFC 7515 §4): how it is signed, and with which key.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::json::{self, Object, not_null};
use crate::{Algorithm, Error};

/// The parameters of a header that this crate acts on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `alg`, the name of any algorithm, supported or not.
    pub(crate) algorithm: Cow<'static, str>,
    /// `kid` (RFC 7515 §4.1.4).
    pub(crate) key_id: Option<String>,
}

/// Reads the JSON text of a header.
pub(crate) fn read(json: &[u8]) -> Result<Header, Error> {
    let text = std::str::from_utf8(json).ok();
    let header: Option<HeaderParameters> = text.and_then(|text| json::from_object(text).ok());
    let header = header.ok_or(Error::Malformed {
        reason: "its header must be a JSON object that has an `alg` and names each member once",
    })?;
    if header.crit.is_some() {
        // RFC 7515 §4.1.11: a critical extension that is not understood makes the token invalid.
        return malformed(
            "its header requires an extension (`crit`), and no extension is supported",
        );
    }
    if header.b64 == Some(false) {
        // RFC 7797 §7: the payload of a JWT is always encoded.
        return malformed("its header says that the payload is not base64url (`b64`)");
    }
    if !header.typ.is_none_or(|typ| is_jwt(&typ)) {
        return malformed("its header's `typ` is not `JWT` or `at+jwt`");
    }
    Ok(Header {
        algorithm: Cow::Owned(header.alg),
        key_id: header.kid,
    })
}

/// Writes the JSON text of a header with a `kid`.
pub(crate) fn write(algorithm: Algorithm, key_id: &str) -> Result<Vec<u8>, Error> {
    #[derive(Serialize)]
    struct IssuedHeader<'a> {
        alg: &'static str,
        typ: &'static str,
        kid: &'a str,
    }

    let header = IssuedHeader {
        alg: algorithm.name(),
        typ: "JWT",
        kid: key_id,
    };
    serde_json::to_vec(&header).or_else(|_| malformed("its header cannot be written as JSON"))
}

fn malformed<T>(reason: &'static str) -> Result<T, Error> {
    Err(Error::Malformed { reason })
}

/// Whether a `typ` is that of a JWT (RFC 7519 §5.1) or of an access token (RFC 9068 §2.1).
///
/// Media types are case-insensitive, and `application/` may be left out (RFC 7515 §4.1.9).
fn is_jwt(typ: &str) -> bool {
    const APPLICATION: &str = "application/";
    let subtype = match typ.split_at_checked(APPLICATION.len()) {
        Some((prefix, subtype)) if prefix.eq_ignore_ascii_case(APPLICATION) => subtype,
        _ => typ,
    };
    ["JWT", "at+jwt"]
        .iter()
        .any(|known| subtype.eq_ignore_ascii_case(known))
}

/// The parameters of a header, each with the type that its RFC gives it: RFC 7515 §4.1, RFC 7516
/// §4.1 (`enc`, `zip`), RFC 7797 §3 (`b64`) and RFC 8555 §6 (`url`, `nonce`).
///
/// A header with a parameter of another type is refused. The values below `b64` are otherwise
/// ignored: keys come from the configuration, never from the token.
#[derive(Deserialize)]
struct HeaderParameters {
    alg: String,
    #[serde(default, deserialize_with = "not_null")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "not_null")]
    b64: Option<bool>,
    #[serde(default, deserialize_with = "not_null", rename = "cty")]
    _cty: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "jku")]
    _jku: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "jwk")]
    _jwk: Option<Object<Jwk>>,
    #[serde(default, deserialize_with = "not_null", rename = "x5u")]
    _x5u: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "x5c")]
    _x5c: Option<Vec<String>>,
    #[serde(default, deserialize_with = "not_null", rename = "x5t")]
    _x5t: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "x5t#S256")]
    _x5t_s256: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "enc")]
    _enc: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "zip")]
    _zip: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "url")]
    _url: Option<String>,
    #[serde(default, deserialize_with = "not_null", rename = "nonce")]
    _nonce: Option<String>,
}

/// A key in a header. Its type is the only member that every key has (RFC 7517 §4.1).
#[derive(Deserialize)]
struct Jwk {
    #[serde(rename = "kty")]
    _kty: String,
}
