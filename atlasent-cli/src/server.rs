//! The server that a command asks: `--base-url`, else the environment.

use std::env;
use std::error::Error as _;
use std::time::Duration;

use atlasent::{Client, Error};
use clap::Args;

use crate::exit::Failure;

/// How large an export may be that comes over the network, in bytes.
const EXPORT_LIMIT: usize = 4 * 1024 * 1024 * 1024;

/// How long a server may take: an export has to be put together first.
const PATIENCE: Duration = Duration::from_secs(900);

/// The variable with the address of the server.
const VARIABLE: &str = "ATLASENT_BASE_URL";

/// Where the server is. It has no default: a key made by `atlasent serve` looks like one of the
/// hosted service, and must not be sent there because an address was forgotten.
#[derive(Args)]
pub(crate) struct ServerAddress {
    /// The address of the server [default: $ATLASENT_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

impl ServerAddress {
    /// A client for the server, with the key of `ATLASENT_API_KEY`.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = Client::builder()
            .base_url(self.url()?)
            .export_limit(EXPORT_LIMIT)
            .timeout(PATIENCE)
            .deadline(PATIENCE);
        client
            .build()
            .map_err(|error| Failure::misuse(with_cause(&error)))
    }

    fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.base_url {
            return Ok(url.clone());
        }
        match env::var(VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(url),
            _ => Err(Failure::misuse(format!(
                "no server: name it with `--base-url` or {VARIABLE}, such as \
                 `http://127.0.0.1:8080`; the API key is sent there"
            ))),
        }
    }

    /// The failure of a call, with the server that it went to.
    pub(crate) fn failed(&self, error: &Error) -> Failure {
        let server = self.url().map(|url| format!("`{}`", host(&url)));
        let server = server.unwrap_or_else(|_| "the server".to_owned());
        Failure::misuse(format!("asking {server}: {}", with_cause(error)))
    }
}

/// The text of an error, with the cause of a wrong setting. The text of a failed call has its causes.
fn with_cause(error: &Error) -> String {
    match error {
        Error::Config(config) => match config.source() {
            Some(cause) => format!("{config}: {cause}"),
            None => config.to_string(),
        },
        other => other.to_string(),
    }
}

/// Host and port of an address, without a user's name or password.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_host_and_no_password() {
        for url in [
            "http://u:hunter2@a.example:8080/v1?x=y",
            "http://a.example:8080",
            "a.example:8080/",
        ] {
            assert_eq!(host(url), "a.example:8080");
        }
    }
}
