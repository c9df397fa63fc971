//! Who a request comes from, as the authorization chapter of the protocol says: the guard is an
//! OAuth protected resource (RFC 9728), whose tokens name it as their audience.

use ati_client::Verifier;
use atlasent::text::bearer_token;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use reqwest::Url;
use serde_json::{Value, json};

use crate::Caller;

/// The path of the metadata of a protected resource (RFC 9728, section 3).
pub(super) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// How the callers of an endpoint are known.
#[derive(Debug)]
pub enum Authentication {
    /// Every request is the configured caller's. For an endpoint on this machine.
    Configured(Caller),
    /// Each request has an ATI token. The verifier must name the audience that the resource is.
    Token {
        /// Verifies the tokens.
        verifier: Verifier,
        /// What the endpoint says about itself.
        resource: ProtectedResource,
    },
}

/// What an endpoint says about itself as a protected resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResource {
    /// The URL of the endpoint, as clients know it. It is the audience of tokens.
    pub url: Url,
    /// The URLs of the authorization servers that issue tokens for it.
    pub authorization_servers: Vec<String>,
}

/// Why a request has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unauthenticated {
    /// It has no token.
    NoToken,
    /// Its token is invalid, or there are several.
    InvalidToken,
}

impl Authentication {
    /// Returns the caller of a request.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unauthenticated> {
        let verifier = match self {
            Self::Configured(caller) => return Ok(caller.clone()),
            Self::Token { verifier, .. } => verifier,
        };
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let value = match (all.next(), all.next()) {
            (None, _) => return Err(Unauthenticated::NoToken),
            (Some(only), None) => only,
            _ => return Err(Unauthenticated::InvalidToken),
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| bearer_token(value).ok());
        let claims = token.and_then(|token| match verifier.verify(token) {
            Ok(claims) => Some(claims),
            Err(error) => {
                tracing::debug!(%error, "refused a token");
                None
            }
        });
        let caller = claims.and_then(|claims| Caller::from_claims(claims).ok());
        caller.ok_or(Unauthenticated::InvalidToken)
    }

    /// Returns the challenge of a request without a valid token (RFC 6750, RFC 9728 section 5.1).
    pub(super) fn challenge(&self, why: Unauthenticated) -> Option<HeaderValue> {
        let Self::Token { resource, .. } = self else {
            return None;
        };
        let error = match why {
            Unauthenticated::NoToken => "",
            Unauthenticated::InvalidToken => r#"error="invalid_token", "#,
        };
        let metadata = resource.metadata_url();
        HeaderValue::from_str(&format!(r#"Bearer {error}resource_metadata="{metadata}""#)).ok()
    }

    /// Returns the metadata of the endpoint (RFC 9728, section 2).
    pub(super) fn metadata(&self) -> Option<Value> {
        let Self::Token { resource, .. } = self else {
            return None;
        };
        Some(json!({
            "resource": resource.url.as_str(),
            "authorization_servers": resource.authorization_servers,
            "bearer_methods_supported": ["header"],
        }))
    }
}

impl ProtectedResource {
    /// Returns the URL of the metadata: the well-known path, before the path of the endpoint.
    fn metadata_url(&self) -> Url {
        let mut url = self.url.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{METADATA_PATH}{path}"));
        url.set_query(None);
        url.set_fragment(None);
        url
    }
}
