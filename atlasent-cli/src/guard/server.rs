//! The server behind a guard: how options and the table `[server]` name it, and how it is reached.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use atlasent::authority::DynAuthority;
use atlasent_mcp::credential::{HostCredential, HostSecret};
use atlasent_mcp::guard::http::HttpUpstream;
use atlasent_mcp::guard::secret::{EnvSecret, SecretSource};
use atlasent_mcp::guard::{ServerCommand, Upstream};
use serde::Deserialize;

use crate::exit::Failure;
use crate::output;

/// How the server behind the guard is reached.
#[derive(Debug)]
pub(crate) enum ServerChoice {
    Command {
        words: Vec<OsString>,
        secrets: Vec<(String, SecretSource)>,
        /// The environment variables that secrets of the settings are read from.
        withheld: Vec<String>,
    },
    Url {
        url: String,
        /// The header of the credentials, and where they are read from.
        secret: Option<(SecretHeaderName, SecretSource)>,
    },
}

/// The header that carries the credentials.
#[derive(Debug)]
pub(crate) enum SecretHeaderName {
    Bearer,
    Other(String),
}

/// The table `[server]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTable {
    command: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, SecretTable>,
    url: Option<String>,
    bearer: Option<SecretTable>,
    header: Option<HeaderTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderTable {
    name: String,
    value: SecretTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    file: Option<PathBuf>,
    env: Option<String>,
    command: Option<Vec<String>>,
}

impl ServerChoice {
    /// Returns the server that the options name, or else the one in the table.
    pub(super) fn new(
        words: &[OsString],
        url: Option<&str>,
        table: Option<ServerTable>,
    ) -> Result<Option<Self>, String> {
        let withheld = table.as_ref().map(ServerTable::env_sources);
        let withheld = withheld.unwrap_or_default();
        let server = table.map(ServerTable::into_choice).transpose();
        let server = server.map_err(|why| format!("`[server]`: {why}"))?;
        Ok(match (words, url, server) {
            ([], None, server) => server,
            // The secrets of the settings file are for the server of that file only.
            ([], Some(url), _) => Some(Self::Url {
                url: url.to_owned(),
                secret: None,
            }),
            (words, _, server) => Some(Self::Command {
                words: words.to_vec(),
                secrets: match server {
                    Some(Self::Command { secrets, .. }) => secrets,
                    _ => Vec::new(),
                },
                // Includes the variables of a server that the command replaces.
                withheld,
            }),
        })
    }

    /// Returns how the server is reached, and the secret of a server over HTTP. Permits of the
    /// authority release the secret.
    pub(crate) fn upstream(
        &self,
        authority: &dyn DynAuthority,
    ) -> Result<(Upstream, Option<HostSecret>), Failure> {
        match self {
            Self::Command {
                words,
                secrets,
                withheld,
            } => {
                let (program, arguments) = words
                    .split_first()
                    .ok_or_else(|| Failure::misuse("the command of the server is empty"))?;
                let secrets = secrets.iter().map(|(name, source)| {
                    let value = source.read().map_err(Failure::misuse)?;
                    Ok(EnvSecret::new(name, value))
                });
                let command = ServerCommand {
                    program: program.clone(),
                    arguments: arguments.to_vec(),
                    secrets: secrets.collect::<Result<_, Failure>>()?,
                    withheld: withheld.clone(),
                };
                Ok((Upstream::Command(Arc::new(command)), None))
            }
            Self::Url { url, secret } => {
                let parsed = url
                    .parse()
                    .map_err(|_| Failure::misuse("the URL of the server is invalid"))?;
                let upstream = HttpUpstream::new(parsed).map_err(Failure::misuse)?;
                let secret = match secret {
                    None => None,
                    Some((header, source)) => {
                        let value = source.read().map_err(Failure::misuse)?;
                        let secret = match header {
                            SecretHeaderName::Bearer => HostCredential::bearer(url, value),
                            SecretHeaderName::Other(name) => {
                                let name = name.parse().map_err(|_| {
                                    Failure::misuse(
                                        "`server.header.name` is not the name of a header",
                                    )
                                })?;
                                HostCredential::header(url, name, value)
                            }
                        };
                        let secret = secret.map_err(Failure::misuse)?;
                        Some(secret.granted_by(authority).map_err(Failure::misuse)?)
                    }
                };
                Ok((Upstream::Http(Arc::new(upstream)), secret))
            }
        }
    }

    /// Returns the program of a server that is started by a command, for messages.
    pub(crate) fn program(&self) -> Option<String> {
        let Self::Command { words, .. } = self else {
            return None;
        };
        let program = words.first()?.to_string_lossy();
        Some(output::escaped(&program))
    }
}

impl ServerTable {
    /// Returns the environment variables that secrets are read from.
    fn env_sources(&self) -> Vec<String> {
        let header = self.header.as_ref().map(|header| &header.value);
        let secrets = (self.env.values()).chain(&self.bearer).chain(header);
        secrets.filter_map(|secret| secret.env.clone()).collect()
    }

    fn into_choice(self) -> Result<ServerChoice, String> {
        let withheld = self.env_sources();
        match (self.command, self.url) {
            (Some(words), None) if !words.is_empty() => {
                if self.bearer.is_some() || self.header.is_some() {
                    return Err("`bearer` and `header` are for a server with a `url`".to_owned());
                }
                let secrets = self.env.into_iter().map(|(name, secret)| {
                    let source = secret
                        .source()
                        .map_err(|why| format!("`env.{name}`: {why}"))?;
                    Ok((name, source))
                });
                Ok(ServerChoice::Command {
                    words: words.into_iter().map(OsString::from).collect(),
                    secrets: secrets.collect::<Result<_, String>>()?,
                    withheld,
                })
            }
            (None, Some(url)) => {
                if !self.env.is_empty() {
                    return Err("`env` is for a server with a `command`".to_owned());
                }
                let secret = match (self.bearer, self.header) {
                    (None, None) => None,
                    (Some(secret), None) => Some((SecretHeaderName::Bearer, secret.source()?)),
                    (None, Some(header)) => {
                        Some((SecretHeaderName::Other(header.name), header.value.source()?))
                    }
                    (Some(_), Some(_)) => return Err("set one of `bearer` and `header`".to_owned()),
                };
                Ok(ServerChoice::Url { url, secret })
            }
            _ => Err("set one of `command` and `url`".to_owned()),
        }
    }
}

impl SecretTable {
    fn source(self) -> Result<SecretSource, String> {
        match (self.file, self.env, self.command) {
            (Some(path), None, None) => Ok(SecretSource::File(path)),
            (None, Some(name), None) => Ok(SecretSource::Env(name)),
            (None, None, Some(words)) => Ok(SecretSource::Command(words)),
            _ => Err(
                "a secret is one of `{ file = … }`, `{ env = … }`, `{ command = [ … ] }`"
                    .to_owned(),
            ),
        }
    }
}
