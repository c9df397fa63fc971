//! The content of a token, verified or not.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::{Error, RateSpec, Scopes, read};

/// The content of a token: the part that [`Claims`](crate::Claims) and
/// [`Unverified`](crate::Unverified) have in common.
///
/// Both give it by `Deref`, so `claims.sub()` reads it. It grants nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The JSON text as it stands in the token.
    text: String,
    registered: RegisteredClaims,
}

impl Payload {
    /// Of a token.
    pub(crate) fn read(text: String) -> Result<Self, Error> {
        let registered = read::claims(&text)?;
        Ok(Self { text, registered })
    }

    /// For a token.
    pub(crate) fn write(registered: RegisteredClaims) -> Result<Self, Error> {
        let text = serde_json::to_string(&registered).map_err(|_| Error::Malformed {
            reason: "its claims cannot be written as JSON",
        })?;
        Ok(Self { text, registered })
    }

    pub(crate) fn registered(&self) -> &RegisteredClaims {
        &self.registered
    }

    /// The agent, or the sandbox that it runs in.
    #[must_use]
    pub fn sub(&self) -> &str {
        &self.registered.sub
    }

    /// The audiences of the token: the services that it is for.
    #[must_use]
    pub fn aud(&self) -> &[String] {
        &self.registered.aud
    }

    /// When it was issued, in Unix seconds.
    #[must_use]
    pub fn iat(&self) -> u64 {
        self.registered.iat
    }

    /// When it expires, in Unix seconds.
    #[must_use]
    pub fn exp(&self) -> u64 {
        self.registered.exp
    }

    /// The issuer, if the token names one.
    #[must_use]
    pub fn iss(&self) -> Option<&str> {
        self.registered.iss.as_deref()
    }

    /// The id of the token itself.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.registered.jti.as_deref()
    }

    /// The job that the agent works on.
    #[must_use]
    pub fn job_id(&self) -> Option<&str> {
        self.registered.job_id.as_deref()
    }

    /// The sandbox that the agent runs in.
    #[must_use]
    pub fn sandbox_id(&self) -> Option<&str> {
        self.registered.sandbox_id.as_deref()
    }

    /// The patterns that calls are limited for, and how.
    ///
    /// # Errors
    ///
    /// [`Error::BadRate`] if one of them cannot be read. No limit holds then, so neither does the
    /// token: a service that enforces rates refuses it.
    pub fn rates(&self) -> Result<Vec<(&str, RateSpec)>, Error> {
        let rates = self.registered.rates.iter();
        rates
            .map(|(pattern, spec)| Ok((pattern.as_str(), spec.parse()?)))
            .collect()
    }

    /// The claims as they stand in the token, to the letter, those included that mean nothing here:
    /// a JSON object.
    #[must_use]
    pub fn to_json(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped: the token's author may have put line breaks between the claims.
        write!(f, "Payload({:?})", self.text)
    }
}

/// The claims that mean something here, in the order in which they are issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RegisteredClaims {
    pub(crate) sub: String,
    #[serde(serialize_with = "one_or_many")]
    pub(crate) aud: Vec<String>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    /// Heeded and never issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<u64>,
    #[serde(serialize_with = "as_text")]
    pub(crate) scope: Scopes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    #[serde(rename = "ati", serialize_with = "namespace")]
    pub(crate) rates: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_id: Option<String>,
}

/// A single audience is written as a string (RFC 7519 §4.1.3), which is all that ATI's proxy reads.
fn one_or_many<S: Serializer>(audiences: &[String], json: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [audience] => json.serialize_str(audience),
        _ => json.collect_seq(audiences),
    }
}

fn as_text<S: Serializer>(scopes: &Scopes, json: S) -> Result<S::Ok, S::Error> {
    json.serialize_str(scopes.as_str())
}

/// `{"v":1,"rate":{…}}`, or `{"v":1}` without rates.
fn namespace<S: Serializer>(rates: &[(String, String)], json: S) -> Result<S::Ok, S::Error> {
    struct Rates<'a>(&'a [(String, String)]);

    impl Serialize for Rates<'_> {
        fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
            json.collect_map(self.0.iter().map(|(pattern, spec)| (pattern, spec)))
        }
    }

    let mut ati = json.serialize_map(None)?;
    ati.serialize_entry("v", &1)?;
    if !rates.is_empty() {
        ati.serialize_entry("rate", &Rates(rates))?;
    }
    ati.end()
}
