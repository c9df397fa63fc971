//! The endpoints of an issuer for logins, from the settings or from its discovery document.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::config::checked_url;
use super::super::fetch::Issuer;
use crate::clock::Clock;

/// How long endpoints are used without asking the issuer.
const FRESH: Duration = Duration::from_secs(600);

/// How long a failure to fetch them counts, so that visitors cannot flood the issuer.
const PAUSE: Duration = Duration::from_secs(5);

/// The endpoints of an issuer.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) authorization: Url,
    pub(super) token: Url,
    /// Whether the secret of the client is sent in the form, and not in a header.
    pub(super) is_secret_in_form: bool,
    /// Whether each answer of the authorization endpoint names the issuer (RFC 9207).
    pub(super) names_issuer: bool,
}

/// Finds the endpoints. Fetches of the discovery document never overlap.
pub(super) struct EndpointCache {
    fixed: Option<Arc<Endpoints>>,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Fetched>>,
}

struct Fetched {
    at: Timestamp,
    result: Result<Arc<Endpoints>, String>,
}

/// The members of a discovery document that a login reads (OpenID Connect Discovery 1.0, section
/// 3; RFC 8414, 2; RFC 9207, 3).
#[derive(Deserialize)]
struct Metadata {
    authorization_endpoint: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl EndpointCache {
    pub(super) fn new(fixed: Option<(Url, Url)>, clock: Arc<dyn Clock>) -> Self {
        let fixed = fixed.map(|(authorization, token)| Endpoints {
            authorization,
            token,
            is_secret_in_form: false,
            names_issuer: false,
        });
        Self {
            fixed: fixed.map(Arc::new),
            clock,
            last: Mutex::default(),
        }
    }

    /// Returns the endpoints, fetched anew if they are not fresh.
    pub(super) async fn current(&self, issuer: &Issuer) -> Result<Arc<Endpoints>, String> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        if let Some(fetched) = &*last
            && fetched.counts(now)
        {
            return fetched.result.clone();
        }
        let metadata = issuer.discover("an `authorization_endpoint` and a `token_endpoint`");
        let result = metadata.await.and_then(Metadata::endpoints).map(Arc::new);
        *last = Some(Fetched {
            at: now,
            result: result.clone(),
        });
        result
    }
}

impl Fetched {
    /// Returns whether the result still counts. One from the future is that of a clock that was set
    /// back, and does not.
    fn counts(&self, now: Timestamp) -> bool {
        let limit = if self.result.is_ok() { FRESH } else { PAUSE };
        let age = Duration::try_from(now.duration_since(self.at));
        age.is_ok_and(|age| age < limit)
    }
}

impl Metadata {
    fn endpoints(self) -> Result<Endpoints, String> {
        let url = |name: &str, text: &str| {
            checked_url(text).map_err(|why| format!("discovery document: `{name}` {why}"))
        };
        let lists = |list: &Option<Vec<String>>, value: &str| {
            list.as_ref()
                .map(|list| list.iter().any(|one| one == value))
        };
        // An issuer that lists no method may know S256, and one that does not ignores it.
        if lists(&self.code_challenge_methods_supported, "S256") == Some(false) {
            return Err(
                "discovery document: the issuer does not support PKCE with S256".to_owned(),
            );
        }
        let methods = &self.token_endpoint_auth_methods_supported;
        let has_basic = lists(methods, "client_secret_basic");
        let has_post = lists(methods, "client_secret_post");
        Ok(Endpoints {
            authorization: url("authorization_endpoint", &self.authorization_endpoint)?,
            token: url("token_endpoint", &self.token_endpoint)?,
            is_secret_in_form: has_basic == Some(false) && has_post == Some(true),
            names_issuer: self.authorization_response_iss_parameter_supported,
        })
    }
}
