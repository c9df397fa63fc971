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
    /// Whether the type is that of an access token (RFC 9068, 2.1).
    #[cfg(feature = "console")]
    is_access_token: bool,
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
        let typ = header.typ.as_deref().map(type_name);
        if !matches!(typ.as_deref(), None | Some("jwt" | "at+jwt")) {
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
            #[cfg(feature = "console")]
            is_access_token: typ.as_deref() == Some("at+jwt"),
            claims,
        })
    }

    /// Checks a bearer token: issuer, audience, the client that it was issued to, and times.
    pub(super) fn check(&self, config: &OidcConfig, now: Timestamp) -> Result<(), OidcError> {
        self.check_issuer(config)?;
        if !self.audiences().contains(&config.audience()) {
            return Err(OidcError::WrongAudience);
        }
        if let Some(parties) = config.authorized_parties() {
            // Access tokens name the client as `client_id` (RFC 9068, 2.2), others as `azp`.
            let party = match self.text("azp")? {
                Some(party) => Some(party),
                None => self.text("client_id")?,
            };
            if !party.is_some_and(|party| parties.iter().any(|known| known == party)) {
                return Err(OidcError::WrongParty);
            }
        }
        self.check_times(now).map(drop)
    }

    /// Checks the ID token of a login (OpenID Connect Core 1.0, section 3.1.3.7). Returns when it
    /// expires, in seconds since 1970.
    #[cfg(feature = "console")]
    pub(super) fn check_id_token(
        &self,
        config: &OidcConfig,
        client_id: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<f64, OidcError> {
        if self.is_access_token {
            return Err(OidcError::Malformed(
                "it is an access token, not an ID token",
            ));
        }
        self.check_issuer(config)?;
        let audiences = self.audiences();
        if !audiences.contains(&client_id) {
            return Err(OidcError::WrongAudience);
        }
        match self.text("azp")? {
            Some(party) if party == client_id => {}
            // A token for several parties has to say who asked for it.
            None if audiences.len() == 1 => {}
            _ => return Err(OidcError::WrongParty),
        }
        if self.text("nonce")? != Some(nonce) {
            return Err(OidcError::WrongNonce);
        }
        self.time("iat")?.ok_or_else(|| missing("iat"))?;
        self.check_times(now)
    }

    fn check_issuer(&self, config: &OidcConfig) -> Result<(), OidcError> {
        match self.claims.get("iss").and_then(Value::as_str) == Some(config.issuer()) {
            true => Ok(()),
            false => Err(OidcError::WrongIssuer),
        }
    }

    /// Returns the audiences. A member that is not a string counts as an audience other than ours.
    fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::Array(audiences)) => audiences
                .iter()
                .map(|audience| audience.as_str().unwrap_or_default())
                .collect(),
            Some(audience) => vec![audience.as_str().unwrap_or_default()],
            None => Vec::new(),
        }
    }

    /// Checks `exp`, `nbf` and `iat`. Returns `exp`.
    fn check_times(&self, now: Timestamp) -> Result<f64, OidcError> {
        let now = now.as_duration().as_secs_f64();
        let expires = self.time("exp")?.ok_or_else(|| missing("exp"))?;
        if now >= expires + LEEWAY {
            return Err(OidcError::Expired);
        }
        for claim in ["nbf", "iat"] {
            if self.time(claim)?.is_some_and(|from| from > now + LEEWAY) {
                return Err(OidcError::NotYetValid);
            }
        }
        Ok(expires)
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
        // A role that no policy can list is left out.
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

    /// Returns a claim that is a text, or absent.
    fn text(&self, claim: &str) -> Result<Option<&str>, OidcError> {
        let Some(value) = self.claims.get(claim) else {
            return Ok(None);
        };
        value.as_str().map(Some).ok_or_else(|| OidcError::Claim {
            claim: claim.to_owned(),
            why: "is not a text",
        })
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

fn missing(claim: &str) -> OidcError {
    OidcError::Claim {
        claim: claim.to_owned(),
        why: "is missing",
    }
}

/// Returns the type of a token (RFC 7519, 5.1; RFC 9068, 2.1) in its short form. Logout tokens and
/// other signed objects of the same issuer have other types.
fn type_name(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ).to_owned()
}

fn decoded(part: &str) -> Result<Vec<u8>, OidcError> {
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| OidcError::Malformed("a part of it is not base64url"))
}
