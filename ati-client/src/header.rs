//! The header of a token (RFC 7515 §4): how it is signed, and with which key.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::json::{Seen, Text, Unique, UniqueObject};
use crate::{Algorithm, Error};

/// The members of a header that mean something here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `alg`, which may be the name of any algorithm.
    pub(crate) algorithm: Cow<'static, str>,
    /// `kid` (RFC 7515 §4.1.4).
    pub(crate) key_id: Option<String>,
}

/// Reads the JSON text of a header.
pub(crate) fn read(json: &[u8]) -> Result<Header, Error> {
    let header: Members = serde_json::from_slice(json).ok().ok_or(Error::Malformed {
        reason: "its header is not a JSON object that names its algorithm, and each member once",
    })?;
    if header.crit {
        // RFC 7515 §4.1.11: an extension that is critical and not understood is a refusal.
        return malformed("its header asks for an extension (`crit`), and none is understood");
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
    struct Issued<'a> {
        alg: &'static str,
        typ: &'static str,
        kid: &'a str,
    }

    let header = Issued {
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
/// Media types have no case, and their `application/` may be left out (RFC 7515 §4.1.9).
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

/// A header as it stands in a token. `serde`'s derive would take an array for it as well.
struct Members {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    /// Whether there is a `crit`, whatever its value.
    crit: bool,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let (mut alg, mut typ, mut kid, mut crit) = (None, None, None, false);
        let mut seen = Seen::default();
        while let Some(Text(name)) = members.next_key()? {
            match &*name {
                "alg" => alg = Some(members.next_value()?),
                "typ" => typ = Some(members.next_value()?),
                "kid" => kid = Some(members.next_value()?),
                "crit" => {
                    members.next_value::<Unique>()?;
                    crit = true;
                }
                // Nothing follows from these: the keys are configured. But a header in which one
                // of them is of another type than RFC 7515 §4.1 gives it is no header.
                "cty" | "jku" | "x5u" | "x5t" | "x5t#S256" => {
                    members.next_value::<Text<'_>>()?;
                }
                "x5c" => {
                    members.next_value::<Vec<Text<'_>>>()?;
                }
                "jwk" => {
                    members.next_value::<UniqueObject>()?;
                }
                _ => {
                    members.next_value::<Unique>()?;
                }
            }
            seen.add(name)?;
        }
        let alg = alg.ok_or_else(|| A::Error::missing_field("alg"))?;
        Ok(Members {
            alg,
            typ,
            kid,
            crit,
        })
    }
}
