//! The server that a command calls: `--base-url`, else the environment variable
//! `ATLASENT_BASE_URL`.

use std::env;
use std::error::Error as _;
use std::time::Duration;

use atlasent::client::ClientBuilder;
use atlasent::{Client, Error};
use clap::Args;

use crate::exit::Failure;

/// The largest export that is accepted from a server, in bytes.
const MAX_EXPORT_BYTES: usize = 4 * 1024 * 1024 * 1024;

/// The timeout of a request. It is long because a server builds an export before it responds.
const TIMEOUT: Duration = Duration::from_secs(900);

/// The environment variable with the URL of the server.
const BASE_URL_VARIABLE: &str = "ATLASENT_BASE_URL";

/// The option `--base-url`. It has no default: a key created by `atlasent serve` has the form of a
/// key of the hosted service, and must not be sent there when the URL is missing.
#[derive(Args)]
pub(crate) struct ServerAddress {
    /// The URL of the server, such as http://127.0.0.1:8080 [default: $ATLASENT_BASE_URL]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

impl ServerAddress {
    /// Creates a client for the server, with the API key in `ATLASENT_API_KEY`.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        build_client(self.builder()?)
    }

    /// Creates a client for the server, with a bearer token in place of the API key.
    pub(crate) fn client_with_token(&self, token: &str) -> Result<Client, Failure> {
        build_client(self.builder()?.bearer_token(token))
    }

    fn builder(&self) -> Result<ClientBuilder, Failure> {
        Ok(Client::builder()
            .base_url(self.url()?)
            .export_limit(MAX_EXPORT_BYTES)
            .timeout(TIMEOUT)
            .deadline(TIMEOUT))
    }

    fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.base_url {
            return Ok(url.clone());
        }
        url_from_environment().ok_or_else(|| {
            Failure::misuse(format!(
                "missing server URL: set `--base-url` or {BASE_URL_VARIABLE}, such as \
                 `http://127.0.0.1:8080`, to the server that gets the API key"
            ))
        })
    }

    /// Converts the error of a call into a failure: a negative result with the server's message if
    /// the server refused what was asked, else a failure that names the server.
    pub(crate) fn call_failure(&self, error: &Error) -> Failure {
        if let Some(message) = refusal(error) {
            return Failure::refused(message);
        }
        let server = self.url().map(|url| format!("`{}`", host_and_port(&url)));
        let server = server.unwrap_or_else(|_| "the server".to_owned());
        Failure::misuse(format!(
            "the call to {server} failed: {}",
            with_cause(error)
        ))
    }
}

/// Returns the server's message if the server understood the call and refused it: what it names
/// does not exist or is in another state, or this person may not decide on it.
fn refusal(error: &Error) -> Option<&str> {
    let failure = error.failure()?;
    let code = failure.server_code()?;
    let is_refusal = match failure.status()? {
        403 => matches!(code, "NOT_AN_APPROVER" | "SELF_APPROVAL"),
        // A server without the endpoint answers with the code `NOT_FOUND`.
        404 => code != "NOT_FOUND",
        409 => true,
        _ => false,
    };
    is_refusal.then(|| failure.message())
}

fn build_client(client: ClientBuilder) -> Result<Client, Failure> {
    client
        .build()
        .map_err(|error| Failure::misuse(with_cause(&error)))
}

/// Returns the value of `ATLASENT_BASE_URL`, if it is set.
pub(crate) fn url_from_environment() -> Option<String> {
    env::var(BASE_URL_VARIABLE)
        .ok()
        .filter(|url| !url.is_empty())
}

/// Formats an error with its cause. Only the text of a configuration error lacks the cause.
fn with_cause(error: &Error) -> String {
    match error {
        Error::Config(config) => match config.source() {
            Some(cause) => format!("{config}: {cause}"),
            None => config.to_string(),
        },
        other => other.to_string(),
    }
}

/// Returns the host and port of a URL, without user name and password.
fn host_and_port(url: &str) -> &str {
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
            assert_eq!(host_and_port(url), "a.example:8080");
        }
    }
}
