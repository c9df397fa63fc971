//! `atlasent serve`: an authority on the wire, for the AtlaSent SDKs of all languages.

mod logging;
mod setup;
mod store;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent_authority::LocalAuthority;
#[cfg(feature = "otlp")]
use atlasent_authority::server::OtlpLog;
use atlasent_authority::server::{AuditLog, Listening, Retention, Server, Settings, TlsFiles};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use ipnet::IpNet;

use crate::data::{self, DataDir};
use crate::duration::{duration, lifetime};
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use logging::Logging;
use setup::{Setup, Welcome};
use store::{Accept, AnyStore, StoreChoice};

/// Serve the AtlaSent API from this machine
#[derive(Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Serve {
    /// Where to listen, such as localhost:8080 or 0.0.0.0:8080; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,

    /// The folder of the policies [default: `policies` in the data directory, with examples the first time]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    /// A folder of policies that are compared with those in force, and enforce nothing
    #[arg(long, value_name = "DIR")]
    shadow_policies: Option<PathBuf>,

    /// How long changed policies wait for further changes, unless their manifest matches
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    policy_settle: Duration,

    /// Where permits and events are kept: memory, redb (a file in the data directory) or postgres://
    #[arg(long, value_name = "STORE", default_value = "redb", value_parser = StoreChoice::parse)]
    store: StoreChoice,

    /// An environment variable with the address of the database: `--store` shows its password to the machine
    #[arg(long, value_name = "NAME", conflicts_with = "store")]
    store_env: Option<String>,

    #[command(flatten)]
    data: DataDir,

    #[command(flatten)]
    accept: Accept,

    /// An environment variable that holds one API key, which is taken besides those of `atlasent key`
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// How long a permit may wait to be used
    #[arg(long, value_name = "DURATION", default_value = "3600", value_parser = lifetime)]
    permit_ttl: Duration,

    /// How many permits of one agent may wait to be used; an agent with as many is denied more
    #[arg(long, value_name = "N", default_value = "1000")]
    permits_per_agent: NonZeroU64,

    /// A file with the key that signs exports (Ed25519, PEM) [default: one in the data directory]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,

    /// The organization of a new audit chain; a chain that has events keeps its own
    #[arg(long, value_name = "ORG", default_value = "local", value_parser = NonEmptyStringValueParser::new())]
    org_id: String,

    /// Record the context of each request in full, not only its hash
    #[arg(long)]
    record_context: bool,

    /// How many days events stay in the store before they go into signed bundles [default: for ever]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    retain_days: Option<Duration>,

    /// The folder of these bundles [default: `archive` in the data directory]
    #[arg(long, value_name = "DIR", requires = "retain_days")]
    archive_dir: Option<PathBuf>,

    /// A file that gets each event of the audit trail as one JSON line, or `-` for standard output
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,

    /// A collector that gets each event as an OTLP log record over HTTP, such as https://otel:4318
    /// [default URL: that of OTEL_EXPORTER_OTLP_LOGS_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT]
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    audit_log_otlp: Option<Option<String>>,

    /// A certificate in PEM, for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// A network of proxies whose X-Forwarded-For is believed; repeatable
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxies: Vec<IpNet>,

    /// How long a request may take
    #[arg(long, value_name = "DURATION", default_value = "10", value_parser = lifetime)]
    request_timeout: Duration,

    /// How long an export of the audit trail may take
    #[arg(long, value_name = "DURATION", default_value = "600", value_parser = lifetime)]
    export_timeout: Duration,

    /// How many requests are answered at a time
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = at_least_one)]
    concurrency: usize,

    /// Serve no /metrics, which name actions and ask for no key
    #[arg(long)]
    no_metrics: bool,

    #[command(flatten)]
    logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  atlasent serve
  atlasent serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --policies /etc/atlasent/policies
  ATLASENT_KEY=ask_test_… atlasent serve --store memory --api-key-env ATLASENT_KEY
  ATLASENT_STORE=postgres://… atlasent serve --store-env ATLASENT_STORE --signing-key /run/secrets/key.pem

Any AtlaSent SDK is a client: set its base URL to the address, and its API key. Policies are read again when they
change, and on SIGHUP; SIGTERM lets requests end. /healthz says that the process runs, /readyz that it can decide
and record. Tried with the Python SDK 2.0.0 and 2.18.0.";

/// Serves until the process is told to stop.
pub(crate) fn run(arguments: &Serve) -> Result<Output, Failure> {
    arguments.logging.start();
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::misuse(format!("cannot start a thread: {error}")))?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Serve) -> Result<Output, Failure> {
    // From here on, so that a signal during the start is none that kills.
    let stop = stop()?;
    let data = arguments.data.make()?;
    data::warn_if_shared(&data);
    let choice = arguments.store()?;
    let (store, head) = AnyStore::open(&choice, &data, &arguments.accept).await?;
    let setup = Setup::load(arguments, &data, &store).await?;
    let authority = LocalAuthority::builder(setup.policies)
        .store(store)
        .permit_ttl(arguments.permit_ttl)
        .permits_per_agent(arguments.permits_per_agent)
        .org_id(&arguments.org_id)
        .record_context(arguments.record_context);
    let authority = authority.build().await.map_err(failed)?;
    let mut server = Server::new(authority, setup.keys, setup.signing)
        .settings(arguments.settings())
        .watch(setup.folder.settle(arguments.policy_settle));
    if let Some(folder) = arguments.shadow_folder()? {
        server = server.shadow_policies(folder, arguments.policy_settle);
    }
    if let Some(retention) = arguments.retention(&data)? {
        server = server.retain(retention);
    }
    if let Some(head) = head {
        server = server.save_head(head);
    }
    if let Some(log) = arguments.audit_log()? {
        server = server.audit_log(log);
    }
    #[cfg(feature = "otlp")]
    if let Some(log) = arguments.otlp_log(&data)? {
        server = server.otlp_log(log);
    }
    let listening = server
        .listen(arguments.listen, arguments.tls())
        .await
        .map_err(Failure::misuse)?;
    welcome(arguments, &choice, &setup.welcome, &listening)?;
    // Kept when everything that can fail is done and the key was shown: a start that fails leaves no
    // key behind, so the next one shows one.
    if let Some(first) = setup.first_key {
        first.keep().await?;
        listening.read_keys().await.map_err(Failure::misuse)?;
    }
    listening.run_until(stop).await.map_err(Failure::misuse)?;
    Ok(Output::new(""))
}

impl Serve {
    fn store(&self) -> Result<StoreChoice, Failure> {
        match &self.store_env {
            Some(variable) => Ok(StoreChoice::Postgres(crate::key::address(variable)?)),
            None => Ok(self.store.clone()),
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.request_timeout = self.request_timeout;
        settings.export_timeout = self.export_timeout;
        settings.concurrency = self.concurrency;
        settings.trusted_proxies.clone_from(&self.trusted_proxies);
        settings.metrics = !self.no_metrics;
        settings
    }

    /// Returns the folder of the shadow policies. A broken set in it stops no start, but a folder
    /// that does not exist is a misspelt option.
    fn shadow_folder(&self) -> Result<Option<&Path>, Failure> {
        match self.shadow_policies.as_deref() {
            Some(folder) if !folder.is_dir() => Err(Failure::misuse(format!(
                "`--shadow-policies`: `{}` is not a directory: name one that holds `*.cedar` files",
                folder.display()
            ))),
            folder => Ok(folder),
        }
    }

    fn retention(&self, data: &Path) -> Result<Option<Retention>, Failure> {
        let Some(keep) = self.retain_days else {
            return Ok(None);
        };
        let named = self.archive_dir.clone();
        let folder = named.unwrap_or_else(|| data::archive_folder(data));
        data::make(&folder)?;
        // A link that the operator names is resolved once. One in the data directory is refused.
        let folder = match &self.archive_dir {
            Some(named) => data::resolved(named)?,
            None => folder,
        };
        data::warn_if_shared(&folder);
        Ok(Some(Retention { keep, folder }))
    }

    fn audit_log(&self) -> Result<Option<AuditLog>, Failure> {
        match &self.audit_log {
            Some(_) if self.audit_log_is_stdout() => Ok(Some(AuditLog::stdout())),
            Some(path) => AuditLog::open(path).map(Some).map_err(|error| {
                Failure::misuse(format!("the audit log cannot be opened: {error}"))
            }),
            None => Ok(None),
        }
    }

    #[cfg(feature = "otlp")]
    fn otlp_log(&self, data: &Path) -> Result<Option<OtlpLog>, Failure> {
        let Some(endpoint) = &self.audit_log_otlp else {
            return Ok(None);
        };
        OtlpLog::from_env(endpoint.as_deref(), data::otlp_position_file(data))
            .map(Some)
            .map_err(|error| {
                Failure::misuse(format!("the audit trail cannot be sent by OTLP: {error}"))
            })
    }

    /// Whether standard output is for events alone.
    fn audit_log_is_stdout(&self) -> bool {
        (self.audit_log.as_ref()).is_some_and(|path| path.as_os_str() == "-")
    }

    fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }
}

/// Says where it is and how to get in, on standard output unless that is for events: a program may read it, and a key
/// is shown only here.
fn welcome(
    arguments: &Serve,
    store: &StoreChoice,
    welcome: &Welcome,
    listening: &Listening<AnyStore>,
) -> Result<(), Failure> {
    let tls = arguments.tls().is_some();
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", listening.address());
    let text = welcome.text(&url, store);
    let told = match arguments.audit_log_is_stdout() {
        true => output::tell_on_stderr(&text)?,
        false => output::tell(&text)?,
    };
    if told == Reader::Gone && welcome.shows_key() {
        return Err(Failure::misuse(
            "standard output is closed, so the first API key cannot be shown: start it with an open one, \
             or run `atlasent key create` before",
        ));
    }
    if !tls && !is_loopback(listening.address().ip()) {
        output::say(
            "warning",
            "API keys and permits cross the network in the clear: set `--tls-cert` and `--tls-key`, or put a proxy with TLS in front",
        );
    }
    Ok(())
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Ends when the process is told to stop.
fn stop() -> Result<impl Future<Output = ()>, Failure> {
    #[cfg(unix)]
    let mut terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())
            .map_err(|error| Failure::misuse(format!("cannot listen for signals: {error}")))?
    };
    Ok(async move {
        let interrupt = tokio::signal::ctrl_c();
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt => {}
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
    })
}

/// Why the authority does not start, with what lies underneath.
fn failed(error: atlasent::Error) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    Failure::misuse(format!("{error}{}", cause.unwrap_or_default()))
}

/// Reads an address to listen on. `localhost` is the loopback of IPv4, whatever the resolver says.
fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(
        |_| "write an address and a port, as in `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`",
    )
}

fn days(text: &str) -> Result<Duration, &'static str> {
    match text.strip_suffix('d').unwrap_or(text).parse() {
        Ok(days @ 1..=36_500) => Ok(Duration::from_secs(days * 24 * 3600)),
        _ => Err("write whole days, from 1 to 36500"),
    }
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a whole number from 1 on"),
    }
}
