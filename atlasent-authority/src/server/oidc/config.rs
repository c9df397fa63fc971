//! Where an issuer is, and which of its claims count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use atlasent::text::{is_loopback_host, json_error, toml_error};
use reqwest::Url;
use serde::Deserialize;

#[cfg(feature = "console")]
use super::login::LoginConfig;
use crate::store::OrgId;

/// The limit on a configuration file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The settings for the tokens of one OpenID Connect issuer, from a file in TOML or JSON.
///
/// ```
/// use atlasent_authority::server::OidcConfig;
///
/// let config = OidcConfig::from_toml(r#"
///     issuer = "https://login.example.com/realms/acme"
///     audience = "atlasent"
///     roles_claim = "realm_access.roles"
///
///     [role_names]
///     "CN=Releases,OU=Groups" = "release-manager"
/// "#)?;
/// assert_eq!(config.issuer(), "https://login.example.com/realms/acme");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// | setting | meaning | default |
/// |---|---|---|
/// | `issuer` | the URL of the issuer, as in the claim `iss` | |
/// | `audience` | what the claim `aud` has to name | |
/// | `jwks_url` | the URL of the issuer's keys | `jwks_uri` of the issuer's discovery document |
/// | `principal_claim` | the claim with the name of the person. `email` counts only with `email_verified` | `sub` |
/// | `roles_claim` | the claim with the roles of the person, a list of texts or one text | `roles` |
/// | `role_names` | the role for each value of that claim; other values count for nothing | each value is a role |
/// | `organization` | the organization whose holds these people release | `local` |
/// | `ca_file` | a file with the CA certificates that are trusted for the issuer, in PEM | those of the system |
/// | `authorized_parties` | the clients whose bearer tokens count: one has to be the claim `azp`, or else `client_id` | each client |
/// | `login` | the table of the login in the console, with the feature `console` | people log in with API keys only |
///
/// The table `login`:
///
/// | setting | meaning | default |
/// |---|---|---|
/// | `client_id` | the console as a client of the issuer, and the audience of its ID tokens | |
/// | `console_url` | the address of the console for browsers, without a path. The issuer has to know `<console_url>/console/login/oidc/callback` as a redirect URI | |
/// | `client_secret` | the secret of the client: `{ file = "PATH" }` or `{ env = "NAME" }` | a public client |
/// | `scopes` | the scopes that are asked for, `openid` among them | `["openid"]` |
/// | `session` | how long a session lasts, such as `8h`, and 12 hours at most | until the ID token expires |
/// | `authorization_url`, `token_url` | the endpoints of the issuer, both or neither | those of the discovery document |
///
/// The name of a claim is that of a member of the token, or a path to one inside of it, with dots.
/// URLs are `https`, or `http` to this machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    issuer: String,
    audience: String,
    jwks_url: Option<String>,
    #[serde(default = "default_principal_claim")]
    principal_claim: String,
    #[serde(default = "default_roles_claim")]
    roles_claim: String,
    #[serde(default)]
    role_names: BTreeMap<String, String>,
    #[serde(default)]
    organization: OrgId,
    ca_file: Option<PathBuf>,
    authorized_parties: Option<Vec<String>>,
    #[cfg(feature = "console")]
    login: Option<LoginConfig>,
}

fn default_principal_claim() -> String {
    "sub".to_owned()
}

fn default_roles_claim() -> String {
    "roles".to_owned()
}

impl OidcConfig {
    /// Reads a file: JSON if its name ends in `.json`, else TOML.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has more than 64 KiB, or as [`from_toml`](Self::from_toml).
    pub fn from_file(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let shown = |error: io::Error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
        };
        let mut text = String::new();
        let mut file = File::open(path).map_err(shown)?.take(MAX_FILE + 1);
        let read = file.read_to_string(&mut text).map_err(shown)?;
        if read as u64 > MAX_FILE {
            return Err(shown(invalid(format!("it has more than {MAX_FILE} bytes"))));
        }
        let config = match path.extension() {
            Some(extension) if extension == "json" => Self::from_json(&text),
            _ => Self::from_toml(&text),
        };
        config.map_err(shown)
    }

    /// Parses settings in TOML. An error repeats no value of a wrong type or name, since it may be
    /// a secret that was written in place.
    ///
    /// # Errors
    ///
    /// When the text is not TOML, a setting is missing or unknown, a URL is neither `https` nor
    /// that of this machine, or a name is empty.
    pub fn from_toml(text: &str) -> io::Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map(|span| span.start);
            invalid(toml_error(text, error.message(), offset))
        })?;
        config.checked()
    }

    /// Parses settings in JSON.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml).
    pub fn from_json(text: &str) -> io::Result<Self> {
        let config: Self =
            serde_json::from_str(text).map_err(|error| invalid(json_error(&error)))?;
        config.checked()
    }

    /// Returns the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn audience(&self) -> &str {
        &self.audience
    }

    pub(super) fn organization(&self) -> &OrgId {
        &self.organization
    }

    pub(super) fn jwks_url(&self) -> Option<&str> {
        self.jwks_url.as_deref()
    }

    pub(super) fn principal_claim(&self) -> &str {
        &self.principal_claim
    }

    pub(super) fn roles_claim(&self) -> &str {
        &self.roles_claim
    }

    pub(super) fn authorized_parties(&self) -> Option<&[String]> {
        self.authorized_parties.as_deref()
    }

    /// Returns whether the settings have a table `login`.
    #[cfg(feature = "console")]
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Returns the address of the console for browsers, without a `/` at its end. `None` without a
    /// table `login`.
    #[cfg(feature = "console")]
    #[must_use]
    pub fn console_url(&self) -> Option<&str> {
        let login = self.login.as_ref()?;
        Some(login.console_url().trim_end_matches('/'))
    }

    #[cfg(feature = "console")]
    pub(super) fn login(&self) -> Option<&LoginConfig> {
        self.login.as_ref()
    }

    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Returns the role that a value of the roles claim stands for, if any.
    pub(super) fn role<'a>(&'a self, value: &'a str) -> Option<&'a str> {
        if self.role_names.is_empty() {
            return Some(value);
        }
        self.role_names.get(value).map(String::as_str)
    }

    fn checked(self) -> io::Result<Self> {
        let issuer = checked_url(&self.issuer).map_err(|why| invalid(format!("`issuer` {why}")))?;
        // OpenID Connect Discovery 1.0, section 3.
        if issuer.query().is_some() {
            return Err(invalid("`issuer` has a query: leave it out".to_owned()));
        }
        if let Some(url) = &self.jwks_url {
            checked_url(url).map_err(|why| invalid(format!("`jwks_url` {why}")))?;
        }
        for (setting, name) in [
            ("audience", &self.audience),
            ("principal_claim", &self.principal_claim),
            ("roles_claim", &self.roles_claim),
        ] {
            if name.is_empty() {
                return Err(invalid(format!(
                    "`{setting}` is empty: leave it out or set it"
                )));
            }
        }
        if self.authorized_parties.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid(
                "`authorized_parties` is empty, so no token counts: leave it out or name a client"
                    .to_owned(),
            ));
        }
        #[cfg(feature = "console")]
        if let Some(login) = &self.login {
            login
                .check()
                .map_err(|why| invalid(format!("`login`: {why}")))?;
        }
        Ok(self)
    }
}

/// Checks a URL of an issuer. Keys from a plain connection could be anybody's.
pub(super) fn checked_url(text: &str) -> Result<Url, &'static str> {
    let malformed = "is not an absolute URL: write it as `https://login.example.com`";
    let url = Url::parse(text).map_err(|_| malformed)?;
    let host = url.host_str().ok_or(malformed)?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("has a user, a password or a fragment: leave it out");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback_host(host) => Ok(url),
        _ => Err("is not `https`, and its host is not this machine: use `https`"),
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}
