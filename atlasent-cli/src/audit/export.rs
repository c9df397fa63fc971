//! `atlasent audit export`: writes a signed bundle of events, from a running server or from the
//! store of a stopped one.

use std::io::{self, Write};
use std::path::PathBuf;

use atlasent_authority::SystemClock;
use atlasent_authority::files::replace_file;
use clap::Args;

use super::filter::FilterArgs;
use super::stopped::StoppedServer;
use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Export the audit trail, or a part of it, as a signed bundle
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit export --out bundle.json
  atlasent audit export --since 2026-11-01T00:00:00Z --until 2026-11-30T23:59:59Z > november.json
  atlasent audit export --data-dir /var/lib/atlasent --out bundle.json     # while no server runs
  atlasent audit export --data-dir /var/lib/atlasent --org acme --out acme.json

The API key is read from ATLASENT_API_KEY and needs the scope `audit.export`. An export of a period is complete and
verifies. An export of some types or of one agent has gaps: its signature verifies, its chain does not.")]
pub(super) struct Export {
    /// The file to write the bundle to, replaced if it exists [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    stopped: StoppedServer,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    server: ServerAddress,
}

/// Exports the bundle to the file or to standard output.
pub(super) fn run(arguments: &Export) -> Result<Output, Failure> {
    runtime::run(async {
        match arguments.stopped.is_set() {
            true => from_store(arguments).await,
            false => from_server(arguments).await,
        }
    })?;
    Ok(Output::new(""))
}

async fn from_server(arguments: &Export) -> Result<(), Failure> {
    let client = arguments.server.client()?;
    let export = client.audit_export(&arguments.filter.for_server()).await;
    let export = export.map_err(|error| arguments.server.call_failure(&error))?;
    write(arguments, &mut export.bundle.as_slice())
}

async fn from_store(arguments: &Export) -> Result<(), Failure> {
    let (store, keys) = arguments.stopped.open().await?;
    let filter = arguments.filter.for_store();
    let bundle = atlasent_authority::trail::export(&store, &filter, &keys, &SystemClock).await;
    write(arguments, &mut bundle.map_err(Failure::misuse)?)
}

fn write(arguments: &Export, bundle: &mut impl io::Read) -> Result<(), Failure> {
    let written = match &arguments.out {
        Some(path) => replace_file(path, |file| io::copy(bundle, file).map(drop)),
        None => match io::copy(bundle, &mut io::stdout().lock()).and_then(|_| io::stdout().flush())
        {
            // A reader such as `head` closed the pipe early: the command still succeeds.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        },
    };
    let target = match &arguments.out {
        Some(path) => format!("`{}`", path.display()),
        None => "standard output".to_owned(),
    };
    written
        .map_err(|error| Failure::misuse(format!("cannot write the bundle to {target}: {error}")))
}
