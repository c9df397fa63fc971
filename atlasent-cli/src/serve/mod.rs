//! `atlasent serve`: serves an authority over HTTP to the AtlaSent SDKs of all languages.

mod logging;
mod setup;
mod store;
mod webhooks;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent::approval::TrustedIssuers;
use atlasent_authority::LocalAuthority;
use atlasent_authority::duration::{parse_duration, parse_positive_duration};
#[cfg(feature = "otlp")]
use atlasent_authority::server::OtlpLog;
use atlasent_authority::server::{
    AuditLog, Listening, OidcConfig, OidcVerifier, OrgHosting, OrgRegistry, Retention, Server,
    Settings, TlsFiles,
};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use ipnet::IpNet;

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::output::{self, Output, Reader};
use logging::Logging;
use setup::{Setup, StartupMessage};
use store::{AnyStore, ChainOptions, StoreChoice};

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

    /// The directory of the bundles of `--retain-days` [default: `archive` in the data directory]
    #[arg(long, value_name = "DIR", requires = "retain_days")]
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

    /// The settings file of an OpenID Connect issuer, whose people approve with their tokens
    /// [default: approvers have API keys]
    #[arg(long, value_name = "FILE")]
    oidc: Option<PathBuf>,

    /// The file of the issuers whose signed approvals count, as JSON: keys by issuer and key id
    /// [default: no issuer]
    #[arg(long, value_name = "FILE")]
    approval_issuers: Option<PathBuf>,

    /// The file of the issuers whose identity assertions count, in signed approvals, as JSON
    /// [default: no issuer]
    #[arg(long, value_name = "FILE", requires = "approval_issuers")]
    identity_issuers: Option<PathBuf>,

    /// The URL of the page where a request is approved, with {id} in the place of its id; agents get
    /// it with a hold [default: none]
    #[arg(long, value_name = "URL", value_parser = approval_url)]
    approval_url: Option<String>,

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
    let runtime = tokio::runtime::Runtime::new()
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
    let (store, head) = AnyStore::open(&choice, &data, &arguments.chain).await?;
    let setup = Setup::load(arguments, &data, &store).await?;
    let authority = LocalAuthority::builder(setup.policies)
        .store(store)
        .permit_ttl(arguments.permit_ttl)
        .permits_per_agent(arguments.permits_per_agent)
        .org_id(&arguments.org_id)
        .record_context(arguments.record_context);
    let authority = authority.trusted_issuers(arguments.trusted_issuers()?);
    let authority = match &arguments.approval_url {
        Some(url) => authority.approval_url(url),
        None => authority,
    };
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
    if let Some(oidc) = arguments.oidc()? {
        server = server.approvers_by_oidc(oidc);
    }
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
        let archive = self.archive_folder(data);
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
        let folder = self.archive_folder(data);
        data_dir::create_private(&folder)?;
        // A symbolic link given by option is resolved once. In the data directory it is refused.
        let folder = match &self.archive_dir {
            Some(path) => data_dir::resolve(path)?,
            None => folder,
        };
        data_dir::warn_if_shared(&folder);
        Ok(Some(Retention { keep, folder }))
    }

    fn archive_folder(&self, data: &Path) -> PathBuf {
        let option = self.archive_dir.clone();
        option.unwrap_or_else(|| data_dir::archive_folder(data))
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

    fn trusted_issuers(&self) -> Result<TrustedIssuers, Failure> {
        let mut issuers = TrustedIssuers::default();
        if let Some(path) = &self.approval_issuers {
            let text = settings_file("--approval-issuers", path)?;
            issuers = TrustedIssuers::parse(&text)
                .map_err(|error| unusable("--approval-issuers", path, error))?;
        }
        if let Some(path) = &self.identity_issuers {
            let text = settings_file("--identity-issuers", path)?;
            issuers = (issuers.identity_issuers(&text))
                .map_err(|error| unusable("--identity-issuers", path, error))?;
        }
        Ok(issuers)
    }

    fn oidc(&self) -> Result<Option<OidcVerifier>, Failure> {
        let Some(path) = &self.oidc else {
            return Ok(None);
        };
        let config = OidcConfig::from_file(path)
            .map_err(|error| Failure::misuse(format!("`--oidc`: {error}")))?;
        let verifier = OidcVerifier::new(config);
        verifier
            .map(Some)
            .map_err(|error| unusable("--oidc", path, error))
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
    let text = message.text(&url, store);
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
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
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

/// Parses an address to listen on. `localhost` always means 127.0.0.1; no name is resolved.
fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(
        |_| "invalid address: write an IP address and a port, as in `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`",
    )
}

/// Reads the settings file of an option.
fn settings_file(option: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| unusable(option, path, error))
}

/// The failure for a settings file that cannot be used.
fn unusable(option: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::misuse(format!("`{option}`: `{}`: {error}", path.display()))
}

/// Checks the address of the page where a request is approved.
fn approval_url(text: &str) -> Result<String, &'static str> {
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    match is_url && text.contains("{id}") && !text.contains(char::is_whitespace) {
        true => Ok(text.to_owned()),
        false => {
            Err("invalid URL: write one with `{id}` in it, as in `https://approve.example/{id}`")
        }
    }
}

fn days(text: &str) -> Result<Duration, &'static str> {
    match text.strip_suffix('d').unwrap_or(text).parse() {
        Ok(days @ 1..=36_500) => Ok(Duration::from_secs(days * 24 * 3600)),
        _ => Err("invalid number of days: write a whole number from 1 to 36500"),
    }
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("invalid number: write a whole number of at least 1"),
    }
}
