//! The server that a command of approvers calls, and the credential that it sends.

use atlasent::{Client, Error};
use clap::Args;

use crate::exit::Failure;
use crate::server::ServerAddress;
use crate::variable;

/// The options of each command: `--base-url` and `--token-env`.
#[derive(Args)]
pub(super) struct ServerAccess {
    #[command(flatten)]
    address: ServerAddress,

    /// The environment variable with a token of the OpenID Connect issuer [default: an API key]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
}

impl ServerAccess {
    /// Creates a client for the server, with the credential of the approver.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let Some(name) = &self.token_env else {
            return self.address.client();
        };
        let token = variable::read("--token-env", name)?;
        // Most tools print a line break after a token.
        self.address.client_with_token(token.trim())
    }

    /// Converts the error of a call into a failure that names the server.
    pub(super) fn call_failure(&self, error: &Error) -> Failure {
        self.address.call_failure(error)
    }
}
