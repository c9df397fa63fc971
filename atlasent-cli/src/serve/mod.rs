//! `atlasent serve`: serves an authority over HTTP to the AtlaSent SDKs of all languages.

mod approvers;
pub(crate) mod logging;
mod setup;
pub(crate) mod store;
pub(crate) mod values;
mod webhooks;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent_authority::LocalAuthority;
use atlasent_authority::duration::{parse_duration, parse_positive_duration};
#[cfg(feature = "otlp")]
use atlasent_authority::server::OtlpLog;
use atlasent_authority::server::{
    AuditLog, Listening, OrgHosting, OrgRegistry, Retention, Server, Settings, TlsFiles,
};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use ipnet::IpNet;

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use approvers::Approvers;
use logging::Logging;
use setup::{Setup, StartupMessage};
use store::{AnyStore, ChainOptions, StoreChoice};
use values::{at_least_one, days, listen_address};

/// Serve the AtlaSent API over HTTP from this machine
#[derive(Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Serve {
    /// The address to listen on, such as localhost:8080; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = listen_address)]
    listen: SocketAddr,

    /// The directory of the policies
    /// [default: `policies` in the data directory, created with examples]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    /// The directory of the organizations' policies [default: organizations/ID/policies in the data
    /// directory]
    #[arg(long, value_name = "DIR")]
    org_policies: Option<PathBuf>,

    /// A folder of policies to compare with those in force; they enforce nothing
    #[arg(long, value_name = "DIR")]
    shadow_policies: Option<PathBuf>,

    /// The time without changes before changed policies are loaded; with a matching manifest, at
    /// once
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    policy_settle: Duration,

    /// The store of permits and events: memory, redb (a file in the data directory), postgres://URL
    #[arg(long, value_name = "STORE", default_value = "redb", value_parser = StoreChoice::parse)]
    store: StoreChoice,

    /// The environment variable with a postgres:// URL; unlike `--store`, it hides the password
    /// from other users
    #[arg(long, value_name = "NAME", conflicts_with = "store")]
    store_env: Option<String>,

    #[command(flatten)]
    data: DataDir,

    /// Start at once after a crash, also with a large redb file, at the cost of a second flush for
    /// each change
    #[arg(long)]
    fast_recovery: bool,

    #[command(flatten)]
    chain: ChainOptions,

    /// The environment variable with an API key that is accepted in addition to the keys of
    /// `atlasent key`
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// The lifetime of an unused permit, such as 10m or 600 (seconds)
    #[arg(long, value_name = "DURATION", default_value = "3600", value_parser = parse_positive_duration)]
    permit_ttl: Duration,

    /// The maximum number of unused permits per agent; further requests of the agent are denied
    #[arg(long, value_name = "N", default_value = "1000")]
    permits_per_agent: NonZeroU64,

    /// The file of the private key that signs exports (Ed25519, PEM)
    /// [default: one in the data directory]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,

    /// The organization id of a new audit chain; an existing chain keeps its own
    #[arg(long, value_name = "ORG", default_value = "local", value_parser = NonEmptyStringValueParser::new())]
    org_id: String,

    /// Record the full context of each request in the audit trail [default: only its hash]
    #[arg(long)]
    record_context: bool,

    /// The age in days at which events move from the store into signed bundles [default: never]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    retain_days: Option<Duration>,

    /// The directory of the bundles of archived events [default: `archive` in the data directory]
    #[arg(long, value_name = "DIR")]
    archive_dir: Option<PathBuf>,

    /// The file to write each audit event to, as one line of JSON, or `-` for standard output
    /// [default: off]
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,

    /// The collector of audit events, as OTLP log records over HTTP, such as https://otel:4318
    /// [default URL: $OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, else $OTEL_EXPORTER_OTLP_ENDPOINT]
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", num_args = 0..=1, verbatim_doc_comment)]
    audit_log_otlp: Option<Option<String>>,

    /// The settings file of the endpoints that are notified of pending decisions and stops, in TOML
    /// [default: none]
    #[arg(long, value_name = "FILE")]
    webhooks: Option<PathBuf>,

    #[command(flatten)]
    approvers: Approvers,

    /// The certificate chain for TLS, a PEM file [default: plain HTTP]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the TLS certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// A network of proxies whose X-Forwarded-For header is trusted; repeatable
    /// [default: no network]
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxies: Vec<IpNet>,

    /// The timeout of a request, such as 10s or 10 (seconds)
    #[arg(long, value_name = "DURATION", default_value = "10", value_parser = parse_positive_duration)]
    request_timeout: Duration,

    /// The timeout of an export of the audit trail, such as 10m or 600 (seconds)
    #[arg(long, value_name = "DURATION", default_value = "600", value_parser = parse_positive_duration)]
    export_timeout: Duration,

    /// The maximum number of requests handled at the same time
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = at_least_one)]
    concurrency: usize,

    /// Disable /metrics, which needs no API key and names actions
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

Clients are the AtlaSent SDKs of all languages: set their base URL to the printed address, and their API key. Policies
are reloaded when their files change, and on SIGHUP. SIGTERM and Ctrl-C end the server after its open requests.
/healthz reports that the process runs, /readyz that it can decide and record. Tested with the Python SDK 2.0.0 and
2.18.0.";

/// Serves until SIGTERM or Ctrl-C.
pub(crate) fn run(arguments: &Serve) -> Result<Output, Failure> {
    arguments.logging.install();
    let runtime = atlasent_authority::server::runtime()
        .map_err(|error| Failure::misuse(format!("cannot start the async runtime: {error}")))?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Serve) -> Result<Output, Failure> {
    // The handlers of SIGTERM and Ctrl-C are installed first, so that these signals do not kill the
    // process during the start.
    let stop = stop_signal()?;
    let data = arguments.data.create()?;
    data_dir::warn_if_shared(&data);
    let choice = arguments.store()?;
    let (mut store, head) = AnyStore::open(&choice, &data, &arguments.chain).await?;
    if arguments.fast_recovery {
        store = store.with_fast_recovery()?;
    }
    let setup = Setup::load(arguments, &data, &store).await?;
    let authority = LocalAuthority::builder(setup.policies)
        .store(store)
        .permit_ttl(arguments.permit_ttl)
        .permits_per_agent(arguments.permits_per_agent)
        .org_id(&arguments.org_id)
        .record_context(arguments.record_context);
    let authority = arguments.approvers.configure(authority)?;
    let authority = authority.build().await.map_err(build_failure)?;
    let mut server = Server::new(authority, setup.keys, setup.signing)
        .settings(arguments.settings())
        .watch(setup.folder.settle(arguments.policy_settle))
        .organizations(arguments.hosting(setup.organizations, &choice, &data)?);
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
    server = arguments.approvers.accept(server)?;
    if let Some(file) = &arguments.webhooks {
        server = server.webhooks(webhooks::load(file)?);
    }
    let listening = server
        .listen(arguments.listen, arguments.tls())
        .await
        .map_err(Failure::misuse)?;
    print_startup(arguments, &choice, &setup.message, &listening)?;
    // The key is stored last, after it was printed: if the start fails earlier, the next start
    // generates and prints another one.
    if let Some(first) = setup.first_key {
        first.save().await?;
        listening.read_keys().await.map_err(Failure::misuse)?;
    }
    listening.run_until(stop).await.map_err(Failure::misuse)?;
    Ok(Output::new(""))
}

impl Serve {
    fn store(&self) -> Result<StoreChoice, Failure> {
        match &self.store_env {
            Some(variable) => Ok(StoreChoice::Postgres(crate::location::database_url(
                variable,
            )?)),
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

    /// Returns the organizations beside `local`, with the folders of their policies and archives.
    /// One organization's policies may be missing. If the directory of all of them is missing, the
    /// option is misspelt.
    fn hosting(
        &self,
        registry: OrgRegistry,
        choice: &StoreChoice,
        data: &Path,
    ) -> Result<OrgHosting, Failure> {
        if let Some(folder) = &self.org_policies
            && !folder.is_dir()
        {
            return Err(Failure::misuse(format!(
                "`--org-policies`: `{}` is not a directory: name one that holds a folder of policies for each \
                 organization",
                folder.display()
            )));
        }
        let (policies, folder) = (self.org_policies.clone(), data.to_owned());
        let archive = self.archive_folder(data)?;
        let heads = choice.heads_folder(data);
        let hosting = OrgHosting::new(registry, move |id| match &policies {
            Some(policies) => policies.join(id.as_str()),
            None => data_dir::organization_policies(&folder, id),
        })
        .settle(self.policy_settle)
        .archive(move |id| archive.join(id.as_str()))
        .accept_older_store(self.chain.accepts_other_chains());
        Ok(match heads {
            Some(heads) => hosting.save_heads(move |id| heads.join(format!("{id}.json"))),
            None => hosting,
        })
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
        let folder = self.archive_folder(data)?;
        data_dir::create_private(&folder)?;
        data_dir::warn_if_shared(&folder);
        Ok(Some(Retention { keep, folder }))
    }

    /// Returns the folder of the archives. A symbolic link given by option is resolved here, once.
    /// In the data directory it is refused when a bundle is written.
    fn archive_folder(&self, data: &Path) -> Result<PathBuf, Failure> {
        match &self.archive_dir {
            Some(path) => {
                data_dir::create_private(path)?;
                data_dir::resolve(path)
            }
            None => Ok(data_dir::archive_folder(data)),
        }
    }

    fn audit_log(&self) -> Result<Option<AuditLog>, Failure> {
        match &self.audit_log {
            Some(_) if self.audit_log_is_stdout() => Ok(Some(AuditLog::stdout())),
            Some(path) => AuditLog::open(path).map(Some).map_err(|error| {
                Failure::misuse(format!(
                    "cannot open the audit log of `--audit-log`: {error}"
                ))
            }),
            None => Ok(None),
        }
    }

    #[cfg(feature = "otlp")]
    fn otlp_log(&self, data: &Path) -> Result<Option<OtlpLog>, Failure> {
        let Some(endpoint) = &self.audit_log_otlp else {
            return Ok(None);
        };
        OtlpLog::from_env(endpoint.as_deref(), data_dir::otlp_position_file(data))
            .map(Some)
            .map_err(|error| {
                Failure::misuse(format!("cannot send the audit trail by OTLP: {error}"))
            })
    }

    /// Whether `--audit-log -` reserves standard output for events.
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

/// Prints the address, the configuration and a new API key on standard output, or on standard error
/// if standard output is reserved for events. Fails if a new key could not be printed.
fn print_startup(
    arguments: &Serve,
    store: &StoreChoice,
    message: &StartupMessage,
    listening: &Listening<AnyStore>,
) -> Result<(), Failure> {
    let tls = arguments.tls().is_some();
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", listening.address());
    let text = message.text(&url, store, arguments.approvers.console);
    let reader = match arguments.audit_log_is_stdout() {
        true => output::print_now_to_stderr(&text)?,
        false => output::print_now(&text)?,
    };
    if reader == Reader::Closed && message.has_new_key() {
        return Err(Failure::misuse(
            "standard output is closed, so the first API key cannot be printed: open standard output, \
             or run `atlasent key create` first",
        ));
    }
    if !tls && !is_loopback(listening.address().ip()) && arguments.approvers.console {
        output::print_stderr_line(
            "warning",
            "other machines reach the console over TLS only: set `--tls-cert` and `--tls-key`, or use a TLS proxy",
        );
    }
    if !tls && !is_loopback(listening.address().ip()) {
        output::print_stderr_line(
            "warning",
            "API keys and permits cross the network unencrypted: set `--tls-cert` and `--tls-key`, or use a TLS proxy",
        );
    }
    Ok(())
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Installs the signal handlers, and returns a future that resolves on SIGTERM or Ctrl-C.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
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

/// Converts an error of the authority's start into a failure that includes the cause.
fn build_failure(error: atlasent::Error) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    Failure::misuse(format!("{error}{}", cause.unwrap_or_default()))
}
