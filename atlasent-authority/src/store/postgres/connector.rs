//! Connecting to the server: the url, TLS, time limits, and error texts.

use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;

/// How long connecting to the only host may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long connecting to each of several hosts may take, so that a silent host leaves time for the
/// next one.
const EACH: Duration = Duration::from_secs(2);

/// The server's address and settings.
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    name: String,
    /// How long connecting may take, over all hosts.
    limit: Duration,
}

/// The purpose of a connection, with its settings and time limit.
pub(super) struct Purpose {
    /// The settings to apply first, beside the time limits.
    pub(super) settings: &'static str,
    /// How long a statement may take. The client waits a little longer, since the server's error is
    /// the better one.
    pub(super) answer: Duration,
}

/// A connection. Dropping it closes it at once, and cancels its statement.
pub(super) struct Session {
    pub(super) client: Client,
    connection: JoinHandle<()>,
}

/// The error of a statement.
pub(super) struct QueryError {
    error: StoreError,
    /// Whether the connection is lost, so that a new one may succeed.
    pub(super) is_lost: bool,
}

impl From<StoreError> for QueryError {
    /// An error before there was a connection, so no connection is lost.
    fn from(error: StoreError) -> Self {
        Self {
            error,
            is_lost: false,
        }
    }
}

impl From<QueryError> for StoreError {
    fn from(error: QueryError) -> Self {
        error.error
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Connector {
    /// Parses a url.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        // Without the parser's error, which may repeat a part of the password.
        let mut config = Config::from_str(url).map_err(|_| {
            StoreError::failed(
                "the database url cannot be read: write it as `postgres://user:password@host/database`",
            )
        })?;
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(Duration::from_secs(30));
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1);
        let each = if hosts > 1 { EACH } else { CONNECT };
        let each = config.get_connect_timeout().copied().unwrap_or(each);
        config.connect_timeout(each);
        if config.get_application_name().is_none() {
            config.application_name("atlasent");
        }
        let name = name(&config);
        if config.get_ssl_mode() == SslMode::Prefer && !url.contains("sslmode=prefer") {
            config.ssl_mode(default_mode(&config));
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls(&name)?)),
        };
        let limit = CONNECT.max(each.saturating_mul(hosts));
        Ok(Self {
            config,
            tls,
            name,
            limit,
        })
    }

    /// Returns the server and the database, without the user and the password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection.
    pub(super) async fn connect(&self, purpose: &Purpose) -> Result<Session, StoreError> {
        let connect = async {
            let session = match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    session(client, connection)
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    session(client, connection)
                }
            };
            let limit = purpose.answer.as_millis();
            // A process that stalls inside a transaction blocks all others, so the server ends its
            // transaction.
            let settings = format!(
                "SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {limit}; {}",
                purpose.settings
            );
            session.client.batch_execute(&settings).await?;
            Ok(session)
        };
        match timeout(self.limit, connect).await {
            Ok(result) => result.map_err(|error| self.failed(&error)),
            Err(_) => {
                let seconds = self.limit.as_secs();
                Err(self.refused(format_args!(
                    "no connection within {seconds} seconds: is the server running?"
                )))
            }
        }
    }

    /// Asks the server to cancel the connection's statement, if the server answers soon.
    pub(super) async fn cancel(&self, session: &Session) {
        let token = session.client.cancel_token();
        let cancel = async {
            match &self.tls {
                Some(tls) => token.cancel_query(tls.clone()).await,
                None => token.cancel_query(NoTls).await,
            }
        };
        // Otherwise the statement's own time limit ends it.
        let _ = timeout(EACH, cancel).await;
    }

    /// Waits for an answer, up to the time limit: the server may be gone without a sign.
    pub(super) async fn within<T>(
        &self,
        purpose: &Purpose,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, QueryError> {
        let limit = purpose.answer + Duration::from_secs(2);
        match timeout(limit, work).await {
            Ok(result) => result.map_err(|error| QueryError {
                error: self.failed(&error),
                is_lost: is_lost(&error),
            }),
            Err(_) => {
                let seconds = limit.as_secs();
                Err(QueryError {
                    error: self.refused(format_args!("no answer within {seconds} seconds")),
                    is_lost: false,
                })
            }
        }
    }

    /// Returns an error text without the values of the rows.
    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> StoreError {
        let Some(told) = error.as_db_error() else {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                let _ = write!(text, ": {cause}");
                source = cause.source();
            }
            return self.refused(text);
        };
        let hint = match told.code().code() {
            "28000" | "28P01" => ": check the user and the password of the url",
            "3D000" => ": create it, or name another one in the url",
            "42501" => ": grant it to the user of the url",
            "53100" => ": free some space, and it recovers by itself",
            _ => "",
        };
        self.refused(format!("{} ({}){hint}", told.message(), told.code().code()))
    }

    /// Returns an error that names the server.
    pub(super) fn refused(&self, what: impl fmt::Display) -> StoreError {
        StoreError::failed(format!("`{}`: {what}", self.name))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.name).finish()
    }
}

fn session(
    client: Client,
    connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
) -> Session {
    let connection = tokio::spawn(async move {
        // The client reports the error to the caller.
        if let Err(error) = connection.await {
            tracing::debug!(target: "atlasent", %error, "a database connection ended");
        }
    });
    Session { client, connection }
}

/// Returns whether the server has closed the connection, with an error (class 57P: it is stopping,
/// starting or has crashed) or without.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|told| told.code().code());
    code.is_none_or(|code| code.starts_with("57P") || code == "25P03")
}

/// A connection within this machine defaults to no TLS; every other one requires it.
fn default_mode(config: &Config) -> SslMode {
    let is_loopback = |host: &str| {
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    };
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(host) => is_loopback(host),
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    let addresses = config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    if hosts && addresses {
        SslMode::Disable
    } else {
        SslMode::Require
    }
}

fn tls(name: &str) -> Result<ClientConfig, StoreError> {
    let refuse = |error| {
        StoreError::failed(format!(
            "`{name}`: no TLS with this system's CA certificates: {error}; install them (`ca-certificates`)"
        ))
    };
    let verified = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(refuse)?;
    Ok(verified.with_no_client_auth())
}

/// Returns the server and the database, without the user and the password.
fn name(config: &Config) -> String {
    let mut name = String::new();
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    for (place, host) in hosts.iter().enumerate() {
        let port = ports.get(place).or(ports.first()).unwrap_or(&5432);
        let comma = if place > 0 { "," } else { "" };
        let _ = match host {
            Host::Tcp(host) => write!(name, "{comma}{host}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => write!(name, "{comma}{}:{port}", path.display()),
        };
    }
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    let _ = write!(name, "/{database}");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        Connector::new(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn only_what_stays_on_this_machine_goes_without_tls_unasked() {
        for near in [
            "postgres://u@localhost/d",
            "postgres://u@127.0.0.1/d",
            "postgres://u@[::1]/d",
            "host=/run/postgresql user=u",
        ] {
            assert_eq!(mode(near), SslMode::Disable, "{near}");
        }
        for far in [
            "postgres://u@db.example/d",
            "postgres://u@10.0.0.1/d",
            "postgres://u@localhost,db.example/d",
            "host=localhost hostaddr=10.0.0.1 user=u",
        ] {
            assert_eq!(mode(far), SslMode::Require, "{far}");
        }
        assert_eq!(
            mode("postgres://u@db.example/d?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(
            mode("postgres://u@localhost/d?sslmode=require"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgres://u@db.example/d?sslmode=prefer"),
            SslMode::Prefer
        );
    }

    #[test]
    fn no_error_and_no_debug_text_shows_the_password() {
        let connector = Connector::new("postgres://user:hunter2@db.example:6543/audit").unwrap();
        assert_eq!(
            format!("{connector:?}"),
            r#"Connector("db.example:6543/audit")"#
        );
        for broken in [
            "postgres://user:hunter2@db.example:hunter2/audit",
            "postgres://user:hunter2@db.example/audit?hunter2=1",
            "user=u password=hunter2 hunter2",
            "hunter2",
        ] {
            let error = Connector::new(broken).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
