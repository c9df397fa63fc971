//! The settings of the login in the console.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use atlasent::text::quoted;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use super::super::config::checked_url;
use crate::duration::parse_positive_duration;

/// The path of the endpoint to which the issuer sends people back.
pub(in crate::server) const CALLBACK_PATH: &str = "/console/login/oidc/callback";

/// The limit on the length of a session.
const LONGEST_SESSION: Duration = Duration::from_secs(12 * 3_600);

/// The table `login` of the settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct LoginConfig {
    pub(super) client_id: String,
    console_url: String,
    client_secret: Option<SecretSource>,
    #[serde(default = "default_scopes")]
    pub(super) scopes: Vec<String>,
    session: Option<String>,
    authorization_url: Option<String>,
    token_url: Option<String>,
}

/// Where the secret of the client is. The settings themselves hold no secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SecretSource {
    Env(String),
    File(PathBuf),
}

fn default_scopes() -> Vec<String> {
    vec!["openid".to_owned()]
}

impl LoginConfig {
    /// Checks everything but the secret, which may be replaced until it is read.
    pub(in super::super) fn check(&self) -> Result<(), String> {
        if self.client_id.is_empty() {
            return Err("`client_id` is empty".to_owned());
        }
        self.redirect_url()?;
        self.endpoints()?;
        self.session()?;
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err("`scopes` lacks `openid`, without which no ID token is issued".to_owned());
        }
        // RFC 6749, 3.3.
        let is_scope = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        let is_good = |scope: &String| !scope.is_empty() && scope.bytes().all(is_scope);
        match self.scopes.iter().all(is_good) {
            true => Ok(()),
            false => Err("`scopes` has a scope that is no word".to_owned()),
        }
    }

    /// Returns the address of the console, as it is written.
    pub(in crate::server::oidc) fn console_url(&self) -> &str {
        &self.console_url
    }

    /// Returns the address to which the issuer sends people back.
    pub(super) fn redirect_url(&self) -> Result<Url, String> {
        let url = checked_url(&self.console_url).map_err(|why| format!("`console_url` {why}"))?;
        if url.path() != "/" || url.query().is_some() {
            return Err(
                "`console_url` has a path or a query: write it as `https://atlasent.example.com`"
                    .to_owned(),
            );
        }
        url.join(CALLBACK_PATH)
            .map_err(|error| format!("`console_url`: {error}"))
    }

    /// Returns the addresses of the authorization endpoint and of the token endpoint. `None` if the
    /// discovery document names them.
    pub(super) fn endpoints(&self) -> Result<Option<(Url, Url)>, String> {
        let url = |setting: &str, text: &str| {
            checked_url(text).map_err(|why| format!("`{setting}` {why}"))
        };
        match (&self.authorization_url, &self.token_url) {
            (Some(authorization), Some(token)) => Ok(Some((
                url("authorization_url", authorization)?,
                url("token_url", token)?,
            ))),
            (None, None) => Ok(None),
            _ => Err("write both `authorization_url` and `token_url`, or neither".to_owned()),
        }
    }

    /// Returns how long a session lasts. `None` for as long as the ID token is valid.
    pub(super) fn session(&self) -> Result<Option<Duration>, String> {
        let Some(text) = &self.session else {
            return Ok(None);
        };
        let length = parse_positive_duration(text).map_err(|why| format!("`session`: {why}"))?;
        match length <= LONGEST_SESSION {
            true => Ok(Some(length)),
            false => Err("`session` is longer than `12h`".to_owned()),
        }
    }

    /// Reads the secret of the client. An error does not repeat it.
    pub(super) fn secret(&self) -> Result<Option<SecretString>, String> {
        let text = match &self.client_secret {
            None => return Ok(None),
            Some(SecretSource::Env(name)) => env::var(name).map_err(|_| {
                let name = quoted(name);
                format!("the environment variable {name} is not set or not UTF-8")
            })?,
            Some(SecretSource::File(path)) => fs::read_to_string(path)
                .map_err(|error| format!("`{}`: {error}", path.display()))?,
        };
        match text.trim() {
            "" => Err("the client secret is empty".to_owned()),
            secret => Ok(Some(SecretString::from(secret.to_owned()))),
        }
    }
}
