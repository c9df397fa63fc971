//! Who a request comes from, as the authorization chapter of the protocol says: the guard is an
//! OAuth protected resource (RFC 9728), whose tokens name it as their audience.

use std::collections::BTreeSet;

use ati_client::{Verifier, parse_scopes};
use atlasent::text::bearer_token;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use reqwest::Url;
use serde_json::{Value, json};

use crate::credential::is_loopback;
use crate::mapping::is_scope;
use crate::{Caller, Mapping};

/// The most bytes of a token's scopes that a challenge repeats: clients and proxies limit headers.
const MAX_GRANTED: usize = 2 * 1024;

/// The path of the metadata of a protected resource (RFC 9728, section 3).
const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// How the callers of an endpoint are known.
#[derive(Debug)]
pub enum Authentication {
    /// Every request is the configured caller's. For an endpoint on this machine.
    Configured(Caller),
    /// Each request has an ATI token, whose audience is that of the resource.
    Token {
        /// Verifies the tokens. It has to require [`ProtectedResource::audience`].
        verifier: Verifier,
        /// What the endpoint says about itself.
        resource: ProtectedResource,
    },
}

/// What an endpoint says about itself as a protected resource.
///
/// ```
/// use atlasent_mcp::guard::http::ProtectedResource;
///
/// let resource = ProtectedResource {
///     url: "https://Guard.example:443".parse()?,
///     authorization_servers: Vec::new(),
///     scopes: Vec::new(),
/// };
/// assert_eq!(resource.audience(), "https://guard.example/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResource {
    /// The URL of the endpoint, as clients know it.
    pub url: Url,
    /// The URLs of the authorization servers that issue tokens for it. If the list is empty, the
    /// metadata does not tell clients where to get a token.
    pub authorization_servers: Vec<String>,
    /// The scopes that clients without a token are told to request. If the list is empty, the
    /// metadata lists all scopes of the mapping, with `tool:<server>:*` for tools without a rule.
    pub scopes: Vec<String>,
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

    /// Returns the challenge of a request without a valid token. `scope` is the scope that the
    /// request needs, if it is known.
    pub(super) fn challenge(
        &self,
        why: Unauthenticated,
        scope: Option<&str>,
    ) -> Option<HeaderValue> {
        let Self::Token { resource, .. } = self else {
            return None;
        };
        let error = match why {
            Unauthenticated::NoToken => None,
            Unauthenticated::InvalidToken => Some("invalid_token"),
        };
        let configured = resource.scopes.iter().map(String::as_str);
        resource.challenge(error, scope.into_iter().chain(configured))
    }

    /// Returns the challenge of a request whose token lacks a scope.
    ///
    /// It also names the scopes that the token has. Some clients request exactly the named scopes,
    /// so without these, their next token would grant this request alone.
    pub(super) fn scope_challenge(&self, scope: &str, caller: &Caller) -> Option<HeaderValue> {
        let Self::Token { resource, .. } = self else {
            return None;
        };
        let granted = caller.claims().map(|claims| claims.scopes().as_str());
        let granted = granted.filter(|granted| granted.len() <= MAX_GRANTED);
        let granted = parse_scopes(granted.unwrap_or_default());
        let scopes = std::iter::once(scope).chain(granted);
        resource.challenge(Some("insufficient_scope"), scopes)
    }

    /// Returns the paths of the metadata. A reverse proxy may serve the endpoint at another path,
    /// in which case the metadata is at the path that clients derive from the URL.
    pub(super) fn metadata_paths(&self, endpoint: &str) -> BTreeSet<String> {
        let Self::Token { resource, .. } = self else {
            return BTreeSet::new();
        };
        let here = format!("{METADATA_PATH}{endpoint}");
        let known = resource.metadata_url().path().to_owned();
        [METADATA_PATH.to_owned(), here, known].into()
    }

    /// Returns the metadata of the endpoint (RFC 9728, section 2).
    ///
    /// Everyone can read it, so it names only the tools of the mapping, not those that the server
    /// lists.
    pub(super) fn metadata(&self, mapping: &Mapping) -> Option<Value> {
        let Self::Token { resource, .. } = self else {
            return None;
        };
        let mut scopes = resource.scopes.clone();
        if scopes.is_empty() {
            scopes.extend(mapping.scopes());
        }
        scopes.retain(|scope| is_scope(scope));
        let members = [
            ("resource", json!(resource.audience())),
            (
                "authorization_servers",
                json!(resource.authorization_servers),
            ),
            ("bearer_methods_supported", json!(["header"])),
            ("scopes_supported", json!(scopes)),
        ];
        // A list without elements is left out (RFC 9728, section 3.2). Some clients refuse the
        // whole metadata for an empty one.
        let has_elements =
            |value: &Value| value.as_array().is_none_or(|elements| !elements.is_empty());
        let members = members.into_iter();
        Some(members.filter(|(_, value)| has_elements(value)).collect())
    }
}

/// Returns whether a text is the URL of an authorization server, as metadata names it: `https`, or
/// `http` to this machine, without user, password, query and fragment (RFC 8414, section 2).
///
/// ```
/// use atlasent_mcp::guard::http::is_issuer;
///
/// assert!(is_issuer("https://login.example") && is_issuer("http://127.0.0.1:9000/realms/a"));
/// assert!(!is_issuer("login.example") && !is_issuer("http://login.example"));
/// ```
#[must_use]
pub fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    // `Url` also reads `https:login.example`, and texts with spaces around them.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.split_once("://").map(|(scheme, _)| scheme) == Some(url.scheme());
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let is_protected = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    is_plain && is_bare && is_protected
}

impl ProtectedResource {
    /// Returns the audience of tokens for the endpoint: its URL as the metadata publishes it, which
    /// is what clients ask tokens for. An upper case letter of the host, the default port and an
    /// empty path are normalized.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.url.as_str()
    }

    /// Writes a challenge (RFC 6750, section 3, and RFC 9728, section 5.1). Invalid scopes are left
    /// out.
    fn challenge<'a>(
        &self,
        error: Option<&str>,
        scopes: impl Iterator<Item = &'a str>,
    ) -> Option<HeaderValue> {
        let mut named: Vec<&str> = Vec::new();
        for scope in scopes.filter(|scope| is_scope(scope)) {
            if !named.contains(&scope) {
                named.push(scope);
            }
        }
        let mut parameters = Vec::new();
        parameters.extend(error.map(|error| format!(r#"error="{error}""#)));
        if !named.is_empty() {
            parameters.push(format!(r#"scope="{}""#, named.join(" ")));
        }
        parameters.push(format!(r#"resource_metadata="{}""#, self.metadata_url()));
        HeaderValue::from_str(&format!("Bearer {}", parameters.join(", "))).ok()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_url_that_clients_can_use_for_getting_tokens() {
        for (text, expected) in [
            ("https://login.example", true),
            ("https://login.example/", true),
            ("https://login.example:8443/realms/a", true),
            ("http://localhost:9000", true),
            ("http://[::1]:9000", true),
            ("", false),
            ("not a url", false),
            ("login.example", false),
            ("login.example:443", false),
            ("https:login.example", false),
            (" https://login.example", false),
            ("https://login.example ", false),
            ("https://", false),
            ("http://login.example", false),
            ("ftp://login.example", false),
            ("https://u@login.example", false),
            ("https://u:p@login.example", false),
            ("https://login.example?a", false),
            ("https://login.example#a", false),
        ] {
            assert_eq!(is_issuer(text), expected, "{text:?}");
        }
    }
}
