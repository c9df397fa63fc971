//! The claims that this crate knows: how they are read from a token and written into one.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::delegation::{Actors, ParentToken};
use crate::json::{self, Object};
use crate::{Error, RateSpec, Scopes};

/// The version of the claim `ati` that this crate knows.
const ATI_VERSION: u64 = 1;

/// The claims that this crate knows, in the order in which they are issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RegisteredClaims {
    pub(crate) sub: String,
    #[serde(serialize_with = "one_or_many")]
    pub(crate) aud: Vec<String>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    /// Checked when a token is verified. No token is issued with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<u64>,
    #[serde(serialize_with = "as_text")]
    pub(crate) scope: Scopes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    pub(crate) ati: AtiClaim,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_id: Option<String>,
    #[serde(skip_serializing_if = "Actors::is_empty")]
    pub(crate) act: Actors,
    /// The tokens that this one was delegated from, the first one first. A token of another issuer
    /// may have actors without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) delegation: Vec<ParentToken>,
}

impl RegisteredClaims {
    /// Reads the claims from the JSON text of a token's payload.
    pub(crate) fn from_json(text: &str) -> Result<Self, Error> {
        const STRING: &str = "a string";
        const SECONDS: &str = "a whole number of seconds";

        let claims: UncheckedClaims = json::from_object(text).map_err(|_| MALFORMED)?;
        let ati = match claims.ati.optional("ati", ATI_TYPE)? {
            Some(Object(ati)) if ati.v != ATI_VERSION => {
                // The limits in another version are unknown, and to assume no limits is unsafe.
                return Err(Error::UnknownVersion { version: ati.v });
            }
            Some(Object(ati)) => ati,
            None => AtiClaim::new(Vec::new()),
        };
        let aud = claims
            .aud
            .required("aud", "a string or an array of strings")?;
        Ok(Self {
            sub: claims.sub.required("sub", STRING)?,
            aud: match aud {
                Audiences::One(audience) => vec![audience],
                Audiences::Many(audiences) => audiences,
            },
            iat: claims.iat.required("iat", SECONDS)?,
            exp: claims.exp.required("exp", SECONDS)?,
            nbf: claims.nbf.optional("nbf", SECONDS)?,
            scope: claims.scope.required("scope", STRING).map(Scopes::new)?,
            iss: claims.iss.optional("iss", STRING)?,
            jti: claims.jti.optional("jti", STRING)?,
            ati,
            job_id: claims.job_id.optional("job_id", STRING)?,
            sandbox_id: claims.sandbox_id.optional("sandbox_id", STRING)?,
            act: match claims.act.optional("act", "an object")? {
                Some(act) => Actors::read(&act)?,
                None => Actors::default(),
            },
            delegation: claims
                .delegation
                .optional("delegation", "an array of tokens' grants")?
                .unwrap_or_default()
                .into_iter()
                .map(|Object(token)| token)
                .collect(),
        })
    }
}

const MALFORMED: Error = Error::Malformed {
    reason: "its payload must be a JSON object that names each member once",
};
const ATI_TYPE: &str = "an object with a number `v` and, for rates, an object of strings `rate`";

/// The claims of a token before they are checked: each can be missing or have the wrong type.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UncheckedClaims {
    sub: Claim<String>,
    aud: Claim<Audiences>,
    iat: Claim<u64>,
    exp: Claim<u64>,
    nbf: Claim<u64>,
    scope: Claim<String>,
    iss: Claim<String>,
    jti: Claim<String>,
    ati: Claim<Object<AtiClaim>>,
    job_id: Claim<String>,
    sandbox_id: Claim<String>,
    act: Claim<Value>,
    delegation: Claim<Vec<Object<ParentToken>>>,
}

/// One claim of a token. An `Option` would accept `null` for a missing claim.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Claim<T> {
    Valid(T),
    WrongType(IgnoredAny),
    #[default]
    #[serde(skip)]
    Missing,
}

impl<T> Claim<T> {
    /// Returns the value, or `None` if the claim is missing.
    fn optional(self, claim: &'static str, expected: &'static str) -> Result<Option<T>, Error> {
        match self {
            Self::Valid(value) => Ok(Some(value)),
            Self::WrongType(_) => Err(Error::WrongType { claim, expected }),
            Self::Missing => Ok(None),
        }
    }

    /// Returns the value, or an error if the claim is missing.
    fn required(self, claim: &'static str, expected: &'static str) -> Result<T, Error> {
        let value = self.optional(claim, expected)?;
        value.ok_or(Error::MissingClaim { claim })
    }
}

/// The value of `aud`: a string, or an array of strings (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

/// The value of `ati`: `{"v":1,"rate":{…}}`, or `{"v":1}` without rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AtiClaim {
    v: u64,
    #[serde(default, skip_serializing_if = "Rates::is_empty")]
    pub(crate) rate: Rates,
}

impl AtiClaim {
    /// Creates the claim in the supported version.
    pub(crate) fn new(rates: Vec<(String, String)>) -> Self {
        Self {
            v: ATI_VERSION,
            rate: Rates(rates),
        }
    }
}

/// The value of `rate`: patterns and their rates, in the order in which the token has them.
///
/// A rate such as `10/hour` stays text here, and is parsed when it is enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates(pub(crate) Vec<(String, String)>);

impl Rates {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses the rates. Fails if any of them is malformed.
    pub(crate) fn parsed(&self) -> Result<Vec<(&str, RateSpec)>, Error> {
        let rates = self.0.iter();
        rates
            .map(|(pattern, rate)| Ok((pattern.as_str(), rate.parse()?)))
            .collect()
    }
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        json.collect_map(self.0.iter().map(|(pattern, rate)| (pattern, rate)))
    }
}

impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(RatesVisitor)
    }
}

struct RatesVisitor;

impl<'de> Visitor<'de> for RatesVisitor {
    type Value = Rates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Rates, A::Error> {
        let mut rates = Vec::new();
        while let Some(rate) = members.next_entry()? {
            rates.push(rate);
        }
        Ok(Rates(rates))
    }
}

/// Writes a single audience as a string (RFC 7519 §4.1.3), since ATI's proxy reads no array.
fn one_or_many<S: Serializer>(audiences: &[String], json: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [audience] => json.serialize_str(audience),
        _ => json.collect_seq(audiences),
    }
}

fn as_text<S: Serializer>(scopes: &Scopes, json: S) -> Result<S::Ok, S::Error> {
    json.serialize_str(scopes.as_str())
}
