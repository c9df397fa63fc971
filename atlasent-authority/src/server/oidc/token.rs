//! A token in the compact form (RFC 7515, 3.1): its header, its claims, and what has to be signed.

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::config::OidcConfig;
use super::error::OidcError;
use crate::ledger::approval::Approver;

/// The limit on a token, in bytes. Tokens with many groups are long.
const MAX_TOKEN: usize = 16 * 1024;

/// How far the clocks of the issuer and of this server may differ, in seconds.
const LEEWAY: f64 = 60.0;

/// The algorithms that are accepted. A secret cannot be published, so HS256 is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

/// A token whose signature is not verified yet.
pub(super) struct Token<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// The signed text: header, dot and claims.
    pub(super) message: &'t str,
    pub(super) signature: Vec<u8>,
    claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Algorithm {
    /// Returns the algorithm with this name (RFC 7518, 3.1; RFC 8037, 3.1).
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl<'t> Token<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, OidcError> {
        if token.len() > MAX_TOKEN {
            return Err(OidcError::Malformed("it has more than 16384 bytes"));
        }
        let parts = token.rsplit_once('.').and_then(|(message, signature)| {
            let (header, claims) = message.split_once('.')?;
            Some((message, header, claims, signature))
        });
        let (message, header, claims, signature) = parts.ok_or(OidcError::Malformed(
            "it does not have three parts with dots between them",
        ))?;
        let header: Header = serde_json::from_slice(&decoded(header)?)
            .map_err(|_| OidcError::Malformed("its header is not that of a signed token"))?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(OidcError::UnsupportedAlgorithm)?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: what is critical and not understood makes a token invalid.
            return Err(OidcError::Malformed(
                "its header requires an extension, and none is supported",
            ));
        }
        if !header.typ.is_none_or(|typ| is_token_type(&typ)) {
            return Err(OidcError::Malformed(
                "its type is neither `JWT` nor `at+jwt`",
            ));
        }
        let claims = serde_json::from_slice(&decoded(claims)?)
            .map_err(|_| OidcError::Malformed("its claims are not a JSON object"))?;
        Ok(Self {
            algorithm,
            key_id: header.kid,
            message,
            signature: decoded(signature)?,
            claims,
        })
    }

    /// Checks issuer, audience and times.
    pub(super) fn check(&self, config: &OidcConfig, now: Timestamp) -> Result<(), OidcError> {
        if self.claims.get("iss").and_then(Value::as_str) != Some(config.issuer()) {
            return Err(OidcError::WrongIssuer);
        }
        let is_ours = |audience: &Value| audience.as_str() == Some(config.audience());
        let for_us = match self.claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_ours),
            Some(audience) => is_ours(audience),
            None => false,
        };
        if !for_us {
            return Err(OidcError::WrongAudience);
        }
        let now = now.as_duration().as_secs_f64();
        let expires = self.time("exp")?.ok_or(OidcError::Claim {
            claim: "exp".to_owned(),
            why: "is missing",
        })?;
        if now >= expires + LEEWAY {
            return Err(OidcError::Expired);
        }
        for claim in ["nbf", "iat"] {
            if self.time(claim)?.is_some_and(|from| from > now + LEEWAY) {
                return Err(OidcError::NotYetValid);
            }
        }
        Ok(())
    }

    /// Returns the person that a verified token is for.
    pub(super) fn approver(&self, config: &OidcConfig) -> Result<Approver, OidcError> {
        let claim = config.principal_claim();
        let of_claim = |why| OidcError::Claim {
            claim: claim.to_owned(),
            why,
        };
        let principal = member(&self.claims, claim)
            .ok_or(of_claim("is missing"))?
            .as_str()
            .ok_or(of_claim("is not a text"))?;
        // At some issuers, people set any address that they like.
        let is_verified = self.claims.get("email_verified") == Some(&Value::Bool(true));
        if claim == "email" && !is_verified {
            return Err(of_claim("is not verified by the issuer (`email_verified`)"));
        }
        let values = self.roles(config.roles_claim())?;
        let roles = values.into_iter().filter_map(|value| config.role(value));
        // A role that no policy can list is no role.
        let roles = roles.filter(|role| Approver::new("any", [*role]).is_ok());
        Ok(Approver::new(principal, roles)?)
    }

    fn roles(&self, claim: &str) -> Result<Vec<&str>, OidcError> {
        let wrong = || OidcError::Claim {
            claim: claim.to_owned(),
            why: "is neither a text nor a list of texts",
        };
        match member(&self.claims, claim) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(role)) => Ok(vec![role]),
            Some(Value::Array(roles)) => (roles.iter())
                .map(|role| role.as_str().ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// Returns a time in seconds since 1970, which may have a fraction (RFC 7519, 2).
    fn time(&self, claim: &str) -> Result<Option<f64>, OidcError> {
        let Some(value) = self.claims.get(claim) else {
            return Ok(None);
        };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite());
        seconds.map(Some).ok_or_else(|| OidcError::Claim {
            claim: claim.to_owned(),
            why: "is not a time",
        })
    }
}

/// Returns the member with this name, or at this path with dots. Names can have dots in them, such
/// as `https://example.com/roles`, and the whole name counts first.
fn member<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let (name, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
        member(object.get(name)?.as_object()?, rest)
    })
}

/// Whether a type is that of a token (RFC 7519, 5.1; RFC 9068, 2.1), and not of a logout token or
/// another signed object of the same issuer.
fn is_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(
        typ.strip_prefix("application/").unwrap_or(&typ),
        "jwt" | "at+jwt"
    )
}

fn decoded(part: &str) -> Result<Vec<u8>, OidcError> {
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| OidcError::Malformed("a part of it is not base64url"))
}
