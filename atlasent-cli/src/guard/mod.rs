//! `atlasent guard`: stands between a client and a server of the Model Context Protocol.

mod accept;
pub(crate) mod authority;
pub(crate) mod server;
pub(crate) mod settings;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use ati_client::VerifierBuilder;
use atlasent_authority::duration::parse_duration;
use atlasent_authority::server::{ConnectionSettings, serve_router};
use atlasent_mcp::guard::http::{Authentication, Endpoint, EndpointSettings, ProtectedResource};
use atlasent_mcp::guard::paths::PathRules;
use atlasent_mcp::guard::pins::Pins;
use atlasent_mcp::guard::secret::forbid_inspection;
use atlasent_mcp::guard::{Guard, Upstream, stdio};
use atlasent_mcp::{Caller, Gate};
use clap::{Args, Subcommand};

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::serve::logging::Logging;
use crate::serve::stop_signal;
use crate::serve::values::listen_address;
use accept::Accept;
use authority::GuardAuthority;
use server::ServerChoice;
use settings::{ListenTable, Settings};

/// How long a client may take nothing of what waits for it. It resumes its streams afterwards.
const STALL: Duration = Duration::from_secs(60);

/// The agent of a client without a token, unless the settings name it.
const AGENT: &str = "mcp-client";

/// Guard a Model Context Protocol server: each call needs a permit
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    next_line_help = true,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct GuardCommand {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    arguments: GuardArgs,
}

#[derive(Subcommand)]
enum Command {
    Accept(Accept),
}

/// The options of every command of a guard.
#[derive(Args)]
struct CommonArgs {
    /// The settings file, in TOML; options replace its values [default: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The name of the server in actions and scopes, such as `files` in `mcp.files.read_file`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The agent that asks, where it has no token [default: mcp-client]
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,

    /// The directory of the policies that decide, on this machine
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    policies: Option<PathBuf>,

    /// The server that decides, with the API key in ATLASENT_API_KEY
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    #[command(flatten)]
    data: DataDir,
}

/// The options of a guard that runs.
#[derive(Args)]
struct GuardArgs {
    #[command(flatten)]
    common: CommonArgs,

    #[command(flatten)]
    sides: SideArgs,

    #[command(flatten)]
    logging: Logging,
}

/// The options for the sides of a guard.
#[derive(Args, Default)]
struct SideArgs {
    /// The address where people release held calls, with `atlasent approvals` [default: none]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "url", value_parser = listen_address)]
    approvals: Option<SocketAddr>,

    /// How long a held call waits for people, such as 10m [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,

    /// The address to serve streamable HTTP on, at /mcp [default: standard input and output]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<SocketAddr>,

    /// The URL of the server, instead of a command
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<String>,

    /// The command that starts the server, which speaks on standard input and output
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  atlasent guard --name files --policies policies -- npx -y @modelcontextprotocol/server-filesystem /srv/files
  atlasent guard --name search --url https://atlasent.example --listen 127.0.0.1:8808 --upstream https://mcp.example/mcp
  atlasent guard --config guard.toml

Set the command of a server in the client's settings to this one. Each call of a tool is the action `mcp.NAME.TOOL`
with its arguments as the context. What no policy allows is refused, and lists show what the client may use. A tool
that changes after it was first seen is refused until `atlasent guard accept`.";

/// Runs the command.
pub(crate) fn run(command: &GuardCommand) -> Result<Output, Failure> {
    match &command.command {
        Some(Command::Accept(accept)) => {
            let settings = Settings::load(&accept.common, &SideArgs::default())?;
            let data = data_folder(&accept.common.data, &settings.name)?;
            accept::run(accept, &settings, &data)
        }
        None => {
            let arguments = &command.arguments;
            arguments.logging.install();
            forbid_inspection();
            let settings = Settings::load(&arguments.common, &arguments.sides)?;
            let runtime = tokio::runtime::Runtime::new().map_err(|error| {
                Failure::misuse(format!("cannot start the async runtime: {error}"))
            })?;
            let served = runtime.block_on(serve(arguments, settings));
            // A read of standard input cannot be cancelled, and must not keep the process alive.
            runtime.shutdown_background();
            served
        }
    }
}

async fn serve(arguments: &GuardArgs, settings: Settings) -> Result<Output, Failure> {
    let stop = stop_signal()?;
    let data = data_folder(&arguments.common.data, &settings.name)?;
    let caller = settings.agent.as_deref().unwrap_or(AGENT);
    let caller = Caller::configured(caller).map_err(Failure::misuse)?;
    let server = settings.server.as_ref().ok_or_else(|| {
        Failure::misuse("there is no server: write its command after `--`, or set `--upstream`")
    })?;
    let authority = GuardAuthority::open(&settings.authority, &data).await?;
    let gate = Gate::builder(Arc::clone(&authority.authority), settings.mapping)
        .max_wait(settings.wait)
        .build();
    let pins = Pins::open(&pins_folder(&data), &settings.name).map_err(Failure::misuse)?;
    let announces_lists = authority.announce_lists(&gate);
    let guard = Guard::new(gate, pins).with_limits(settings.limits);
    let mut guard = guard.map_err(|error| Failure::misuse(format!("`[limits]`: {error}")))?;
    if announces_lists {
        guard = guard.announcing_lists();
    }
    if let Some(paths) = &settings.paths {
        let rules = PathRules::new(&paths.root, &paths.arguments)
            .map_err(|error| Failure::misuse(format!("`[paths]`: {error}")))?;
        guard = guard.with_paths(rules);
    }
    let (upstream, secret) = server.upstream(&*authority.authority)?;
    if let Some(secret) = secret {
        guard = guard.with_secret(secret);
    }
    let guard = Arc::new(guard);
    let ended = match &settings.listen {
        None => {
            let (input, output) = standard_streams().map_err(|error| {
                Failure::misuse(format!("cannot use standard input and output: {error}"))
            })?;
            let serving = stdio::serve(guard, &upstream, caller, input, output, stop);
            serving
                .await
                .map_err(|error| unusable_server(server, &error))?
        }
        Some(listen) => {
            listen_on(guard, upstream, caller, listen, stop).await?;
            None
        }
    };
    authority.close().await?;
    match ended {
        Some(status) if !status.success() => Err(Failure::refused(format!(
            "the server ended with {}",
            described(status)
        ))),
        _ => Ok(Output::new("")),
    }
}

/// Returns standard input and output. They are not locked, so nothing else of the process may use
/// them.
fn standard_streams() -> std::io::Result<(tokio::fs::File, tokio::fs::File)> {
    #[cfg(unix)]
    let streams = {
        use std::os::fd::AsFd as _;
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        let output = std::io::stdout().as_fd().try_clone_to_owned()?;
        (std::fs::File::from(input), std::fs::File::from(output))
    };
    #[cfg(windows)]
    let streams = {
        use std::os::windows::io::AsHandle as _;
        let input = std::io::stdin().as_handle().try_clone_to_owned()?;
        let output = std::io::stdout().as_handle().try_clone_to_owned()?;
        (std::fs::File::from(input), std::fs::File::from(output))
    };
    let (input, output) = streams;
    Ok((
        tokio::fs::File::from_std(input),
        tokio::fs::File::from_std(output),
    ))
}

/// Serves streamable HTTP.
async fn listen_on(
    guard: Arc<Guard>,
    upstream: Upstream,
    caller: Caller,
    listen: &ListenTable,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let address = listen_address(&listen.address)
        .map_err(|error| Failure::misuse(format!("`listen.address`: {error}")))?;
    let authentication = match &listen.url {
        Some(url) => {
            let unusable =
                || Failure::misuse("`listen.url` is not a URL such as `https://guard.example/mcp`");
            let resource = ProtectedResource {
                url: url.parse().map_err(|_| unusable())?,
                authorization_servers: listen.authorization_servers.clone(),
                scopes: listen.scopes.clone(),
            };
            // `guard.example:443` is a URL with the scheme `guard.example`. The URL of a resource
            // has no fragment (RFC 9728, section 1.2).
            let is_web = matches!(resource.url.scheme(), "https" | "http");
            if !is_web || resource.url.fragment().is_some() {
                return Err(unusable());
            }
            let verifier = VerifierBuilder::from_env()
                .map_err(Failure::misuse)?
                .audience(resource.audience())
                .build()
                .map_err(Failure::misuse)?;
            if resource.authorization_servers.is_empty() {
                tracing::warn!(
                    target: "atlasent",
                    "`listen.authorization_servers` is empty: clients cannot find out where to get a token"
                );
            }
            Authentication::Token { verifier, resource }
        }
        None if address.ip().is_loopback() => Authentication::Configured(caller),
        None => {
            return Err(Failure::misuse(
                "clients of other machines need tokens: set `listen.url` to the URL of this guard, which is their \
                 audience",
            ));
        }
    };
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener
        .map_err(|error| Failure::misuse(format!("cannot listen on `{address}`: {error}")))?;
    let address = listener.local_addr().map_err(Failure::misuse)?;
    let _ = output::print_now(&format!("atlasent guards http://{address}/mcp\n"))?;
    let settings = EndpointSettings {
        authentication,
        origins: listen.origins.clone(),
    };
    let mut limits = ConnectionSettings::default();
    limits.stall_timeout = STALL;
    let endpoint = Endpoint::new(guard, upstream, settings);
    endpoint
        .serve_with(stop, |router, stop| {
            serve_router(listener, router, &limits, stop)
        })
        .await
        .map_err(Failure::misuse)
}

/// Returns the folder of a guard, which is created for its owner alone.
fn data_folder(data: &DataDir, name: &str) -> Result<PathBuf, Failure> {
    if !atlasent_mcp::guard::pins::is_server_name(name) {
        return Err(Failure::misuse(
            "`--name` is one to 64 letters, digits, `-` and `_`",
        ));
    }
    let folder = match data.option() {
        Some(folder) => folder.to_owned(),
        None => data.path()?.join("guard").join(name),
    };
    data_dir::create_private(&folder)?;
    data_dir::resolve(&folder)
}

/// Returns the folder of the pins.
fn pins_folder(data: &Path) -> PathBuf {
    data.join("pins")
}

fn unusable_server(server: &ServerChoice, error: &std::io::Error) -> Failure {
    match server.program() {
        Some(program) => Failure::misuse(format!("cannot run the server `{program}`: {error}")),
        None => Failure::misuse(error),
    }
}

/// Describes how a process ended.
fn described(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("the exit code {code}"),
        None => status.to_string(),
    }
}
