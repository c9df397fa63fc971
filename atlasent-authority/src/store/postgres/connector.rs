//! Connecting to the server: the url, TLS, time limits, and error texts.

use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlasent::text::is_loopback_host;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::Session;
use super::url::{Isolation, name, split_options};
use crate::store::StoreError;

/// How long connecting to the only host may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long connecting to each of several hosts may take, so that a silent host leaves time for the
/// next one.
const EACH: Duration = Duration::from_secs(2);

/// A setting that the server keeps with its session. A pooler whose connections lead to many
/// sessions of the server refuses it or drops it.
const MARK: &str = "-c atlasent.direct=on";
const HAS_MARK: &str = "SELECT coalesce(current_setting('atlasent.direct', true), '') = 'on'";

/// The server's address and settings.
pub(super) struct Connector {
    config: Config,
    isolation: Isolation,
    /// Whether a connection with the [`MARK`] was refused.
    refuses_mark: AtomicBool,
    tls: Option<MakeRustlsConnect>,
    name: String,
    /// How long connecting may take, over all hosts.
    limit: Duration,
}

/// Makes the server look rows up by their keys, for the rest of the transaction.
pub(super) const BY_KEY: &str = "SET LOCAL enable_seqscan = off";

/// The purpose of a connection, with its settings and time limit.
pub(super) struct Purpose {
    /// The settings of each transaction, beside the isolation and the time limits.
    pub(super) settings: &'static str,
    /// How long a statement may take. The client waits a little longer, since the server's error is
    /// the better one.
    pub(super) answer: Duration,
}

/// The error of a statement.
pub(super) struct QueryError {
    error: StoreError,
    /// Whether the connection is lost, so that a new one may succeed.
    pub(super) is_lost: bool,
    /// Whether another transaction was in the way. Nothing was kept, and the next attempt may
    /// succeed.
    pub(super) is_conflict: bool,
}

impl From<StoreError> for QueryError {
    /// An error before there was a connection, so no connection is lost.
    fn from(error: StoreError) -> Self {
        Self {
            error,
            is_lost: false,
            is_conflict: false,
        }
    }
}

impl From<QueryError> for StoreError {
    fn from(error: QueryError) -> Self {
        error.error
    }
}

impl Connector {
    /// Parses a url.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let (url, isolation) = split_options(url)?;
        // Without the parser's error, which may repeat a part of the password.
        let mut config = Config::from_str(&url).map_err(|_| {
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
            isolation,
            refuses_mark: AtomicBool::new(false),
            tls,
            name,
            limit,
        })
    }

    /// Returns the server and the database, without the user and the password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the isolation of all transactions.
    pub(super) fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Opens a connection.
    pub(super) async fn connect(&self, purpose: &Purpose) -> Result<Session, StoreError> {
        match timeout(self.limit, self.open(purpose)).await {
            Ok(result) => result.map_err(|error| self.failed(&error)),
            Err(_) => {
                let seconds = self.limit.as_secs();
                Err(self.refused(format_args!(
                    "no connection within {seconds} seconds: is the server running?"
                )))
            }
        }
    }

    /// Opens a connection, and finds out whether it leads to one session of the server.
    async fn open(&self, purpose: &Purpose) -> Result<Session, tokio_postgres::Error> {
        let begin = self.begin(self.isolation, purpose);
        if !self.refuses_mark.load(Ordering::Relaxed) {
            let mut marked = self.config.clone();
            let options = self.config.get_options().unwrap_or_default();
            marked.options(format!("{options} {MARK}").trim_start());
            match self.open_with(&marked).await {
                Ok((client, connection)) => {
                    let row = client.query_typed_one(HAS_MARK, &[]).await?;
                    let is_direct = row.try_get(0)?;
                    return Ok(Session::new(client, connection, is_direct, begin));
                }
                Err(error) if may_refuse_mark(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let (client, connection) = self.open_with(&self.config).await?;
        self.refuses_mark.store(true, Ordering::Relaxed);
        Ok(Session::new(client, connection, false, begin))
    }

    async fn open_with(
        &self,
        config: &Config,
    ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                Ok((client, drive(connection)))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                Ok((client, drive(connection)))
            }
        }
    }

    /// Returns the statements that begin a transaction.
    pub(super) fn begin(&self, isolation: Isolation, purpose: &Purpose) -> String {
        let (level, limit) = (isolation.as_sql(), purpose.answer.as_millis());
        // A process that stalls inside a transaction blocks all others, so the server ends its
        // transaction.
        let mut begin = format!(
            "BEGIN ISOLATION LEVEL {level}; SET LOCAL statement_timeout = {limit}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit}; {}",
            purpose.settings
        );
        if isolation == Isolation::Serializable {
            // Reading a small table as a whole would conflict with every change to it.
            begin.push_str("; ");
            begin.push_str(BY_KEY);
        }
        begin
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
                is_conflict: is_conflict(&error),
            }),
            Err(_) => {
                let seconds = limit.as_secs();
                Err(QueryError {
                    error: self.refused(format_args!("no answer within {seconds} seconds")),
                    is_lost: false,
                    is_conflict: false,
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
            "40001" | "40P01" => ": nothing was kept, try again",
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

/// Drives a connection in a task of its own.
fn drive(
    connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        // The client reports the error to the caller.
        if let Err(error) = connection.await {
            tracing::debug!(target: "atlasent", %error, "a database connection ended");
        }
    })
}

/// Returns whether the answer to a connection with the [`MARK`] may be about the mark.
fn may_refuse_mark(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|told| told.code().code());
    let is_other = |code: &str| {
        ["28", "3D", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class))
    };
    code.is_some_and(|code| !is_other(code))
}

/// Returns whether another transaction was in the way: see [`retry`](super::retry).
fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|told| told.code().code());
    matches!(code, Some("40001" | "40P01"))
}

/// Returns whether the server has closed the connection, with an error (class 57P: it is stopping,
/// starting or has crashed; class 08: a pooler has lost it) or without.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|told| told.code().code());
    code.is_none_or(|code| code.starts_with("57P") || code.starts_with("08") || code == "25P03")
}

/// A connection within this machine defaults to no TLS; every other one requires it.
fn default_mode(config: &Config) -> SslMode {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(host) => is_loopback_host(host),
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
