//! `atlasent audit export`: writes a signed bundle of events, from a running server or from the
//! store of a stopped one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use atlasent_authority::files::replace_file;
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{RedbStore, SystemClock};
use clap::Args;

use super::filter::FilterArgs;
use crate::data_dir;
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

The API key is read from ATLASENT_API_KEY and needs the scope `audit.export`. An export of a period is complete and
verifies. An export of some types or of one agent has gaps: its signature verifies, its chain does not.")]
pub(super) struct Export {
    /// The file to write the bundle to, replaced if it exists [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The data directory of a stopped server, whose store is read instead of calling a server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    server: ServerAddress,
}

/// Exports the bundle to the file or to standard output.
pub(super) fn run(arguments: &Export) -> Result<Output, Failure> {
    runtime::run(async {
        match &arguments.data_dir {
            Some(data) => from_store(arguments, data).await,
            None => from_server(arguments).await,
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

async fn from_store(arguments: &Export, data: &Path) -> Result<(), Failure> {
    let store = open_store(data)?;
    let keys = KeyRing::open(data_dir::signing_folder(data)).map_err(Failure::misuse)?;
    let bundle = atlasent_authority::trail::export(
        &store,
        &arguments.filter.for_store(),
        &keys,
        &SystemClock,
    )
    .await;
    write(arguments, &mut bundle.map_err(Failure::misuse)?)
}

/// Opens the store of a stopped server. Fails if it does not exist.
pub(super) fn open_store(data: &Path) -> Result<RedbStore, Failure> {
    RedbStore::open_existing(data_dir::store_file(data)).map_err(Failure::misuse)
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
