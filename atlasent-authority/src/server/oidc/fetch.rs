//! Requests to an issuer, with limits on size and time.

use std::io;
use std::time::Duration;

use atlasent::text::is_loopback_host;
use reqwest::header::ACCEPT;
#[cfg(feature = "console")]
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::retry::never;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::{OidcConfig, checked_url};
use super::keys::KeySet;
use crate::server::https::{causes, tls};

/// The limit on each answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// The time limit on each request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where discovery documents are, below the issuer (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// An issuer, ready for requests.
#[derive(Clone)]
pub(super) struct Issuer {
    client: Client,
    issuer: String,
    jwks_url: Option<Url>,
}

/// A discovery document, with those of its members that a caller reads.
#[derive(Deserialize)]
struct Discovery<T> {
    issuer: String,
    #[serde(flatten)]
    members: T,
}

#[derive(Deserialize)]
struct KeysAddress {
    jwks_uri: String,
}

impl Issuer {
    /// Prepares requests. Redirects are not followed, and an issuer of this machine is reached
    /// without a proxy.
    pub(super) fn new(config: &OidcConfig) -> io::Result<Self> {
        let url = |text: &str| checked_url(text).map_err(io::Error::other);
        let issuer = url(config.issuer())?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(config.ca_file(), issuer.scheme() == "https")?)
            .redirect(Policy::none())
            .retry(never())
            .timeout(TIMEOUT);
        if issuer.host_str().is_some_and(is_loopback_host) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            io::Error::other(format!("no HTTP client: {}", causes(&error.without_url())))
        })?;
        Ok(Self {
            client,
            issuer: config.issuer().to_owned(),
            jwks_url: config.jwks_url().map(url).transpose()?,
        })
    }

    /// Fetches the keys. The discovery document is read each time, since the keys may move.
    pub(super) async fn keys(&self) -> Result<KeySet, String> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => {
                let wrong = |why: &str| format!("discovery document: `jwks_uri` {why}");
                let found: KeysAddress = self.discover("a `jwks_uri`").await?;
                checked_url(&found.jwks_uri).map_err(wrong)?
            }
        };
        let json = self.get(url).await.map_err(|why| format!("keys: {why}"))?;
        KeySet::parse(&json).map_err(str::to_owned)
    }

    /// Fetches the discovery document. `members` names those that are read, for the error.
    pub(super) async fn discover<T: DeserializeOwned>(&self, members: &str) -> Result<T, String> {
        let wrong = |why: &str| format!("discovery document: {why}");
        let url = format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/'));
        let url = checked_url(&url).map_err(wrong)?;
        let json = self.get(url).await.map_err(|why| wrong(&why))?;
        let discovery: Discovery<T> = serde_json::from_slice(&json)
            .map_err(|_| wrong(&format!("it does not have an `issuer` and {members}")))?;
        // OpenID Connect Discovery 1.0, section 4.3.
        if discovery.issuer != self.issuer {
            return Err(wrong("it is of another issuer"));
        }
        Ok(discovery.members)
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, String> {
        let (status, body) = answer(self.client.get(url)).await?;
        match status.is_success() {
            true => Ok(body),
            false => Err(format!("status {status}")),
        }
    }

    /// Sends a form, with a header `Authorization` if there is one. Returns the answer with any
    /// status.
    #[cfg(feature = "console")]
    pub(super) async fn post_form(
        &self,
        url: Url,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut request = self.client.post(url).header(CONTENT_TYPE, kind).body(form);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        answer(request).await
    }
}

/// Sends a request, and reads its answer up to [`MAX_ANSWER`].
async fn answer(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
    let broken = |error: reqwest::Error| match error.is_timeout() {
        true => format!("no answer within {TIMEOUT:?}"),
        false => causes(&error.without_url()),
    };
    let request = request.header(ACCEPT, "application/json");
    let mut response = request.send().await.map_err(broken)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        body.extend(chunk);
        if body.len() > MAX_ANSWER {
            return Err(format!("the answer has more than {MAX_ANSWER} bytes"));
        }
    }
    Ok((status, body))
}
