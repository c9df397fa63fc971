//! `atlasent store backup`: copies a consistent snapshot of the store, from a running server or
//! from the file of a stopped one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use atlasent_authority::RedbStore;
use atlasent_authority::store::Store;
use clap::Args;

use crate::data_dir;
use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Copy a consistent snapshot of the store, while the server keeps running
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent store backup /backups/authority-2026-11-01.redb
  atlasent store backup backup.redb --data-dir /var/lib/atlasent     # while no server runs

The API key is read from ATLASENT_API_KEY and needs the scope `audit.export`, and `store.backup` if there are
organizations beside `local`, since the copy holds all of them. The server creates the copy next to its store, which
temporarily takes the same disk space again. The backup is checked as by `atlasent store check` before it is renamed to
DEST. Back up `keys.json`, `organizations.json`, `signing/` and the policies as well. Back up a PostgreSQL store with
`pg_dump`.")]
pub(super) struct Backup {
    /// The file of the backup, which must not exist yet
    #[arg(value_name = "DEST")]
    to: PathBuf,

    /// The data directory of a stopped server, whose store is copied instead of calling a server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    server: ServerAddress,
}

/// Writes the backup to a temporary file, checks it, and renames it.
pub(super) fn run(arguments: &Backup) -> Result<Output, Failure> {
    let to = &arguments.to;
    if to.try_exists().map_err(|error| write_failure(to, &error))? {
        let to = to.display();
        return Err(Failure::misuse(format!(
            "`{to}` already exists: choose a new file for the backup"
        )));
    }
    let part = to.with_added_extension("part");
    let mut file = create(&part)?;
    let written =
        write_backup(arguments, &part, &mut file).and_then(|()| super::check::check_file(&part));
    let published = written.and_then(|_| {
        // A hard link fails if the destination exists by now. A rename would overwrite it.
        let linked = fs::hard_link(&part, to).and_then(|()| sync_folder(to));
        linked.map_err(|error| write_failure(to, &error))
    });
    // The temporary file is removed in every case.
    let _ = fs::remove_file(&part);
    published?;
    Ok(Output::new(format!(
        "wrote the backup {}, which passed `atlasent store check`\n",
        crate::output::escaped(&to.display().to_string())
    )))
}

/// Creates the temporary file of a backup, readable by its owner only (mode 0600).
fn create(part: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(part)
        .map_err(|error| write_failure(part, &error))
}

/// Copies the store of the stopped or the running server into the file.
fn write_backup(arguments: &Backup, part: &Path, file: &mut File) -> Result<(), Failure> {
    runtime::run(async {
        match &arguments.data_dir {
            Some(data) => {
                let store = RedbStore::open_existing(data_dir::store_file(data));
                let copy = store.map_err(Failure::misuse)?.backup().await;
                let mut copy = copy.map_err(Failure::misuse)?;
                io::copy(&mut copy, file).map_err(|error| write_failure(part, &error))?;
            }
            None => {
                let copied = arguments.server.client()?.store_backup(file).await;
                copied.map_err(|error| arguments.server.call_failure(&error))?;
            }
        }
        Ok(())
    })?;
    file.sync_all().map_err(|error| write_failure(part, &error))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_failure(file: &Path, error: &io::Error) -> Failure {
    Failure::misuse(format!(
        "cannot write the backup `{}`: {error}",
        file.display()
    ))
}
