//! Reading the claims of a token, and saying which of them is wrong.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::json::{Seen, Text, Unique};
use crate::payload::RegisteredClaims;
use crate::{Error, Scopes};

/// The claims in the JSON `text`.
pub(crate) fn claims(text: &str) -> Result<RegisteredClaims, Error> {
    let mut cause = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let claims = Claims { cause: &mut cause }
        .deserialize(&mut json)
        .and_then(|registered| json.end().map(|()| registered));
    claims.map_err(|error| {
        cause
            .filter(|_| error.is_data())
            .unwrap_or(Error::Malformed {
                reason: "its payload is not a JSON object",
            })
    })
}

/// Reads the claims, and leaves in `cause` what an error of `serde` has no place for.
struct Claims<'a> {
    cause: &'a mut Option<Error>,
}

impl Claims<'_> {
    fn refuse<T, E: serde::de::Error>(&mut self, cause: Error) -> Result<T, E> {
        let error = E::custom(&cause);
        *self.cause = Some(cause);
        Err(error)
    }

    /// The value of one claim, which must be its first.
    fn take<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
        &mut self,
        slot: &mut Option<T>,
        claim: &'static str,
        expected: &'static str,
        members: &mut A,
    ) -> Result<(), A::Error> {
        if slot.is_some() {
            return self.refuse(CLAIM_TWICE);
        }
        *slot = Some(members.next_value().inspect_err(|_| {
            *self.cause = Some(Error::WrongType { claim, expected });
        })?);
        Ok(())
    }

    fn need<T, E: serde::de::Error>(
        &mut self,
        slot: Option<T>,
        claim: &'static str,
    ) -> Result<T, E> {
        match slot {
            Some(value) => Ok(value),
            None => self.refuse(Error::MissingClaim { claim }),
        }
    }
}

const CLAIM_TWICE: Error = Error::Malformed {
    reason: "it makes a claim twice",
};
const STRING: &str = "a string";
const SECONDS: &str = "a whole number of seconds";

impl<'de> DeserializeSeed<'de> for Claims<'_> {
    type Value = RegisteredClaims;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<RegisteredClaims, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Claims<'_> {
    type Value = RegisteredClaims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(
        mut self,
        mut members: A,
    ) -> Result<RegisteredClaims, A::Error> {
        let (mut sub, mut scope, mut aud) = (None, None, None);
        let (mut iat, mut exp, mut nbf) = (None, None, None);
        let (mut iss, mut jti, mut job_id, mut sandbox_id) = (None, None, None, None);
        let mut ati: Option<Namespace> = None;
        let mut others = Seen::default();
        while let Some(Text(name)) = members.next_key()? {
            let from = &mut members;
            match &*name {
                "sub" => self.take(&mut sub, "sub", STRING, from)?,
                "aud" => self.take(&mut aud, "aud", "a string or an array of strings", from)?,
                "iat" => self.take(&mut iat, "iat", SECONDS, from)?,
                "exp" => self.take(&mut exp, "exp", SECONDS, from)?,
                "nbf" => self.take(&mut nbf, "nbf", SECONDS, from)?,
                "scope" => self.take(&mut scope, "scope", STRING, from)?,
                "iss" => self.take(&mut iss, "iss", STRING, from)?,
                "jti" => self.take(&mut jti, "jti", STRING, from)?,
                "job_id" => self.take(&mut job_id, "job_id", STRING, from)?,
                "sandbox_id" => self.take(&mut sandbox_id, "sandbox_id", STRING, from)?,
                "ati" => self.take(&mut ati, "ati", NAMESPACE, from)?,
                _ => {
                    *self.cause = Some(CLAIM_TWICE);
                    others.add(name)?;
                    members.next_value::<Unique>()?;
                }
            }
        }
        let rates = match ati {
            None => Vec::new(),
            Some(Namespace { version: 1, rates }) => rates,
            // What another version says of limits cannot be known, and no limits is not a safe
            // guess.
            Some(Namespace { version, .. }) => {
                return self.refuse(Error::UnknownVersion { version });
            }
        };
        let aud: Audiences = self.need(aud, "aud")?;
        Ok(RegisteredClaims {
            sub: self.need(sub, "sub")?,
            aud: aud.0,
            iat: self.need(iat, "iat")?,
            exp: self.need(exp, "exp")?,
            nbf,
            scope: Scopes::new(self.need(scope, "scope")?),
            iss,
            jti,
            rates,
            job_id,
            sandbox_id,
        })
    }
}

/// The value of `aud`: a string, or an array of them (RFC 7519 §4.1.3).
struct Audiences(Vec<String>);

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(AudiencesVisitor)
    }
}

struct AudiencesVisitor;

impl<'de> Visitor<'de> for AudiencesVisitor {
    type Value = Audiences;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, audience: &str) -> Result<Audiences, E> {
        Ok(Audiences(vec![audience.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Audiences, A::Error> {
        let mut audiences = Vec::new();
        while let Some(audience) = items.next_element()? {
            audiences.push(audience);
        }
        Ok(Audiences(audiences))
    }
}

const NAMESPACE: &str = "an object with a number `v` and, for rates, an object of strings `rate`";

/// The value of `ati`.
struct Namespace {
    version: u64,
    rates: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(NamespaceVisitor)
    }
}

struct NamespaceVisitor;

impl<'de> Visitor<'de> for NamespaceVisitor {
    type Value = Namespace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMESPACE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Namespace, A::Error> {
        let mut rates = Rates(Vec::new());
        let mut version = None;
        let mut seen = Seen::default();
        while let Some(Text(name)) = members.next_key()? {
            match &*name {
                "v" => version = Some(members.next_value::<u64>()?),
                "rate" => rates = members.next_value()?,
                _ => {
                    members.next_value::<Unique>()?;
                }
            }
            seen.add(name)?;
        }
        Ok(Namespace {
            version: version.ok_or_else(|| A::Error::missing_field("v"))?,
            rates: rates.0,
        })
    }
}

/// The value of `rate`: patterns and what is written for them, which is read when it is enforced.
struct Rates(Vec<(String, String)>);

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
        let mut seen = Seen::default();
        while let Some(Text(pattern)) = members.next_key()? {
            rates.push((pattern.clone().into_owned(), members.next_value()?));
            seen.add(pattern)?;
        }
        Ok(Rates(rates))
    }
}
