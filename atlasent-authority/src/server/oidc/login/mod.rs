//! The login of people at the issuer: the authorization code flow (OpenID Connect Core 1.0, section
//! 3.1) with PKCE (RFC 7636), for the console.
//!
//! ```text
//! browser   GET /console/login/oidc
//!           303 to the issuer: client, redirect address, state, nonce, SHA-256 of the verifier
//! issuer    303 to /console/login/oidc/callback: code, state, iss
//! server    POST to the token endpoint: code, verifier, client secret
//! issuer    an ID token: who it is, for this client, with the nonce
//! ```
//!
//! The console binds state, nonce and verifier to one browser, and accepts each once.

mod config;
mod endpoints;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

pub(in crate::server) use config::CALLBACK_PATH;
pub(super) use config::LoginConfig;
use endpoints::EndpointCache;

use super::error::OidcError;
use super::fetch::Issuer;
use crate::clock::Clock;

/// How many codes are redeemed at a time. Visitors cause these requests.
const MAX_EXCHANGES: usize = 16;

/// The client that logs people in.
pub(in crate::server) struct OidcLogin {
    config: LoginConfig,
    redirect_url: Url,
    secret: Option<SecretString>,
    session: Option<Duration>,
    issuer: Issuer,
    endpoints: EndpointCache,
    exchanges: Semaphore,
}

/// The values that bind the steps of one login to each other. Each is unguessable.
pub(in crate::server) struct LoginBinding {
    /// Comes back with the code.
    pub(in crate::server) state: String,
    /// Comes back in the ID token.
    pub(in crate::server) nonce: String,
    /// Is sent with the code. The issuer has seen its SHA-256.
    pub(in crate::server) verifier: SecretString,
}

/// Why a login fails. Repeats no part of a code or a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum LoginError {
    /// The issuer cannot be used now, or the settings of one of the two are wrong.
    #[error("the issuer does not answer as it should: {0}")]
    Unavailable(String),
    /// Another issuer, or none, says that it answers (RFC 9207).
    #[error("the answer is not of the configured issuer (`iss`)")]
    WrongIssuer,
    /// The code is unknown to the issuer, was used, or is of another client or redirect address.
    #[error("the issuer does not accept the code of this login")]
    WrongCode,
    /// The ID token is refused.
    #[error(transparent)]
    Token(OidcError),
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
    #[serde(default)]
    error: String,
}

impl OidcLogin {
    pub(super) fn new(
        config: &LoginConfig,
        issuer: Issuer,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let invalid = |why: String| io::Error::other(format!("`login`: {why}"));
        Ok(Self {
            redirect_url: config.redirect_url().map_err(invalid)?,
            secret: config.secret().map_err(invalid)?,
            session: config.session().map_err(invalid)?,
            endpoints: EndpointCache::new(config.endpoints().map_err(invalid)?, clock),
            exchanges: Semaphore::new(MAX_EXCHANGES),
            config: config.clone(),
            issuer,
        })
    }

    pub(super) fn client_id(&self) -> &str {
        &self.config.client_id
    }

    /// Returns the address at the issuer where a login begins.
    pub(in crate::server) async fn start_url(
        &self,
        binding: &LoginBinding,
    ) -> Result<Url, LoginError> {
        let endpoints = self.endpoints.current(&self.issuer).await;
        let mut url = endpoints
            .map_err(LoginError::Unavailable)?
            .authorization
            .clone();
        let challenge = Sha256::digest(binding.verifier.expose_secret());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", self.redirect_url.as_str())
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", &binding.state)
            .append_pair("nonce", &binding.nonce)
            .append_pair(
                "code_challenge",
                &Base64UrlUnpadded::encode_string(&challenge),
            )
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Checks the parameter `iss` of the issuer's answer (RFC 9207, 2.4): the code of another
    /// issuer is never sent to this one.
    pub(in crate::server) async fn check_issuer(
        &self,
        named: Option<&str>,
        issuer: &str,
    ) -> Result<(), LoginError> {
        let is_right = match named {
            Some(named) => named == issuer,
            None => {
                let endpoints = self.endpoints.current(&self.issuer).await;
                !endpoints.map_err(LoginError::Unavailable)?.names_issuer
            }
        };
        match is_right {
            true => Ok(()),
            false => Err(LoginError::WrongIssuer),
        }
    }

    /// Redeems a code. Returns the ID token, which is not verified yet.
    pub(in crate::server) async fn redeem(
        &self,
        code: &str,
        binding: &LoginBinding,
    ) -> Result<SecretString, LoginError> {
        let busy = || LoginError::Unavailable("too many people log in at a time".to_owned());
        let _slot = self.exchanges.try_acquire().map_err(|_| busy())?;
        let endpoints = self.endpoints.current(&self.issuer).await;
        let endpoints = endpoints.map_err(LoginError::Unavailable)?;
        let (secret_in_form, authorization) = match &self.secret {
            None => (None, None),
            Some(secret) if endpoints.is_secret_in_form => (Some(secret), None),
            Some(secret) => (None, Some(self.basic(secret)?)),
        };
        let form = self.form(code, binding, secret_in_form, authorization.is_some());
        let answer = self
            .issuer
            .post_form(endpoints.token.clone(), form, authorization);
        let (status, body) = answer.await.map_err(LoginError::Unavailable)?;
        let body = Zeroizing::new(body);
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        match (status, answer) {
            (
                StatusCode::OK,
                Some(TokenAnswer {
                    id_token: Some(token),
                    ..
                }),
            ) => Ok(token.into()),
            (StatusCode::OK, _) => {
                let why = "token endpoint: the answer has no `id_token`".to_owned();
                Err(LoginError::Unavailable(why))
            }
            (StatusCode::BAD_REQUEST, Some(answer)) if answer.error == "invalid_grant" => {
                Err(LoginError::WrongCode)
            }
            // `invalid_client` and others: the settings are wrong, and no person can help it.
            (status, Some(answer)) if !answer.error.is_empty() => {
                let error: String = answer.error.chars().take(64).collect();
                let why = format!("token endpoint: status {status}, error `{error}`");
                Err(LoginError::Unavailable(why))
            }
            (status, _) => Err(LoginError::Unavailable(format!(
                "token endpoint: status {status}"
            ))),
        }
    }

    /// Returns when a session ends that begins now, with an ID token that expires then.
    pub(super) fn session_end(&self, now: Timestamp, token_expires: f64) -> Timestamp {
        let end = match self.session {
            Some(length) => now.saturating_add(length),
            None => now.saturating_add(SignedDuration::from_secs_f64(
                // Longer sessions end by their own limit.
                (token_expires - now.as_duration().as_secs_f64()).clamp(0.0, 86_400.0),
            )),
        };
        end.unwrap_or(now)
    }

    /// The client's name and secret as RFC 6749, 2.3.1 writes them.
    fn basic(&self, secret: &SecretString) -> Result<HeaderValue, LoginError> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (name, secret) = (encoded(self.client_id()), encoded(secret.expose_secret()));
        let pair = Zeroizing::new(format!("{name}:{secret}"));
        let text = Zeroizing::new(format!("Basic {}", Base64::encode_string(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| LoginError::Unavailable("the client secret is no text".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The form of a token request (RFC 6749, 4.1.3; RFC 7636, 4.5).
    fn form(
        &self,
        code: &str,
        binding: &LoginBinding,
        secret: Option<&SecretString>,
        is_named_in_header: bool,
    ) -> String {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_url.as_str()),
            ("code_verifier", binding.verifier.expose_secret()),
        ];
        if !is_named_in_header {
            pairs.push(("client_id", self.client_id()));
        }
        if let Some(secret) = secret {
            pairs.push(("client_secret", secret.expose_secret()));
        }
        let pairs = pairs.into_iter().map(|(name, value)| {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            format!("{name}={value}")
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

impl fmt::Debug for OidcLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcLogin")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
