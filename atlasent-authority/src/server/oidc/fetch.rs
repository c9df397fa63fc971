//! Fetching the keys of an issuer, with limits on size and time.

use std::io;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::retry::never;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::config::{OidcConfig, checked_url};
use super::keys::KeySet;
use crate::server::https::{causes, is_loopback, tls};

/// The limit on each answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// The time limit on each request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where discovery documents are, below the issuer (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// An issuer, ready for requests.
pub(super) struct Issuer {
    client: Client,
    issuer: String,
    jwks_url: Option<Url>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
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
        if issuer.host_str().is_some_and(is_loopback) {
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
            None => self.discover().await?,
        };
        let json = self.get(url).await.map_err(|why| format!("keys: {why}"))?;
        KeySet::parse(&json).map_err(str::to_owned)
    }

    async fn discover(&self) -> Result<Url, String> {
        let wrong = |why: &str| format!("discovery document: {why}");
        let url = format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/'));
        let url = checked_url(&url).map_err(wrong)?;
        let json = self.get(url).await.map_err(|why| wrong(&why))?;
        let discovery: Discovery = serde_json::from_slice(&json)
            .map_err(|_| wrong("it does not have an `issuer` and a `jwks_uri`"))?;
        // OpenID Connect Discovery 1.0, section 4.3.
        if discovery.issuer != self.issuer {
            return Err(wrong("it is of another issuer"));
        }
        checked_url(&discovery.jwks_uri).map_err(|why| wrong(&format!("`jwks_uri` {why}")))
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, String> {
        let broken = |error: reqwest::Error| match error.is_timeout() {
            true => format!("no answer within {TIMEOUT:?}"),
            false => causes(&error.without_url()),
        };
        let request = self.client.get(url).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            body.extend(chunk);
            if body.len() > MAX_ANSWER {
                return Err(format!("the answer has more than {MAX_ANSWER} bytes"));
            }
        }
        Ok(body)
    }
}
