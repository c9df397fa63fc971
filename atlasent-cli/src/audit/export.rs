//! `atlasent audit export`: a signed bundle, from a running server or from a store at rest.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use atlasent_authority::files::replace_file;
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{RedbStore, SystemClock};
use clap::Args;

use super::filter::Filter;
use crate::data;
use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Export a part of the audit trail as a signed bundle
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit export --out bundle.json
  atlasent audit export --since 2026-11-01T00:00:00Z --until 2026-11-30T23:59:59Z > november.json
  atlasent audit export --data-dir /var/lib/atlasent --out bundle.json     # while no server runs

The server is that of `--base-url` or ATLASENT_BASE_URL, asked with the key of ATLASENT_API_KEY. A part by time
verifies as a whole. One by type or agent has gaps: its signature verifies, its chain does not.")]
pub(super) struct Export {
    /// Where to write the bundle, replacing a file there [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The data directory of a server that does not run now, to read its store
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    server: ServerAddress,
}

/// Writes the bundle.
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
    let export = export.map_err(|error| arguments.server.failed(&error))?;
    write(arguments, &mut export.bundle.as_slice())
}

async fn from_store(arguments: &Export, data: &Path) -> Result<(), Failure> {
    let store = open_store(data)?;
    let keys = KeyRing::open(data::signing_folder(data)).map_err(Failure::misuse)?;
    let bundle = atlasent_authority::trail::export(
        &store,
        &arguments.filter.for_store(),
        &keys,
        &SystemClock,
    )
    .await;
    write(arguments, &mut bundle.map_err(Failure::misuse)?)
}

/// Opens the store of a server that does not run now. Never makes one.
pub(super) fn open_store(data: &Path) -> Result<RedbStore, Failure> {
    RedbStore::open_existing(data::store_file(data)).map_err(Failure::misuse)
}

fn write(arguments: &Export, bundle: &mut impl io::Read) -> Result<(), Failure> {
    let written = match &arguments.out {
        Some(path) => replace_file(path, |file| io::copy(bundle, file).map(drop)),
        None => match io::copy(bundle, &mut io::stdout().lock()).and_then(|_| io::stdout().flush())
        {
            // The reader has enough, as `head` has. That is no failure of the command.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        },
    };
    let place = match &arguments.out {
        Some(path) => format!("`{}`", path.display()),
        None => "standard output".to_owned(),
    };
    written.map_err(|error| Failure::misuse(format!("cannot write the bundle to {place}: {error}")))
}
