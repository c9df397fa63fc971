//! A connection to the database, with or without TLS, and what went wrong with it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::StoreError;

/// How long it may take until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the database is.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// What errors call it: hosts and database, never the password.
    name: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let mut config: Config = url.parse().map_err(|_| {
            StoreError::failed(
                "the address of the database cannot be read: write `postgres://user:password@host/database`",
            )
        })?;
        config.connect_timeout(CONNECT);
        if config.get_application_name().is_none() {
            config.application_name("atlasent");
        }
        if !url.contains("sslmode=") {
            let here = config.get_hosts().iter().all(is_this_machine);
            let mode = if here {
                SslMode::Disable
            } else {
                SslMode::Require
            };
            config.ssl_mode(mode);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls()?),
        };
        let name = name(&config);
        Ok(Self { config, tls, name })
    }

    /// A new connection, on which nothing waits for ever.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let connecting = async {
            let client = match &self.tls {
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(connection);
                    client
                }
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(connection);
                    client
                }
            };
            // One that hangs in the middle of a change must not keep the others from theirs.
            client
                .batch_execute(
                    "SET statement_timeout = '10s'; SET lock_timeout = '5s';
                     SET idle_in_transaction_session_timeout = '10s'; SET synchronous_commit = on",
                )
                .await?;
            Ok(client)
        };
        match tokio::time::timeout(2 * CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.failed(&error)),
            Err(_) => Err(self.explain("it does not answer")),
        }
    }

    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> StoreError {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        self.explain(&text)
    }

    pub(super) fn explain(&self, what: &str) -> StoreError {
        StoreError::failed(format!("PostgreSQL at {}: {what}", self.name))
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// TLS with the certificates that the system trusts. There is none without.
fn tls() -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(StoreError::failed)?;
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn name(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    let database = config.get_dbname().or(config.get_user());
    format!("`{}/{}`", hosts.join(","), database.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_spoken_to_other_machines_unless_the_address_says_otherwise() {
        for (address, tls) in [
            ("postgres://u@db.example/d", true),
            ("postgres://u@db.example/d?sslmode=require", true),
            ("postgres://u@db.example/d?sslmode=disable", false),
            ("postgres://u@localhost/d", false),
            ("postgres://u@127.0.0.1/d", false),
            ("postgres://u@[::1]/d", false),
            ("postgres://u@localhost,db.example/d", true),
            ("postgres://u@%2Frun%2Fpostgresql/d", false),
            ("postgres://u@127.0.0.1/d?sslmode=require", true),
        ] {
            let parsed = Address::parse(address).ok().unwrap();
            assert_eq!(parsed.tls.is_some(), tls, "{address}");
        }
    }

    #[test]
    fn no_error_holds_the_password() {
        let address = Address::parse("postgres://me:hunter2@db.example/permits?sslmode=disable");
        let said = address.unwrap().explain("gone").to_string();
        assert_eq!(
            said,
            "the store failed: PostgreSQL at `db.example/permits`: gone"
        );
        let error = Address::parse("postgres://me:hunter2@db:port/x")
            .err()
            .unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
