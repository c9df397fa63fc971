//! `atlasent store backup`: a copy of the store, of one moment, from a running server or from a store at rest.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use atlasent_authority::RedbStore;
use atlasent_authority::store::Store;
use clap::Args;

use crate::data;
use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// Copy the store, of one moment, while the server goes on
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent store backup /backups/authority-2026-11-01.redb
  atlasent store backup backup.redb --data-dir /var/lib/atlasent     # while no server runs

The server is the one of `--base-url` or ATLASENT_BASE_URL, asked with the key of ATLASENT_API_KEY (scope
audit.export). It makes the copy beside its store, which takes as much room for that time. The backup is checked, as
`atlasent store check` does, before it gets its name. Back up `keys.json`, `signing/` and the policies as well. A store
in PostgreSQL is backed up by `pg_dump`.")]
pub(super) struct Backup {
    /// The file of the backup, which must not exist yet
    #[arg(value_name = "DEST")]
    to: PathBuf,

    /// The data directory of a server that does not run now, to copy its store
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    server: ServerAddress,
}

/// Makes the backup, checks it, and gives it its name.
pub(super) fn run(arguments: &Backup) -> Result<Output, Failure> {
    let to = &arguments.to;
    if to.try_exists().unwrap_or(true) {
        let to = to.display();
        return Err(Failure::misuse(format!(
            "`{to}` exists: name a new file for the backup"
        )));
    }
    let draft = to.with_added_extension("part");
    let mut file = create(&draft)?;
    let made = make(arguments, &draft, &mut file).and_then(|()| super::check::check_file(&draft));
    let published = made.and_then(|_| {
        // A link, other than a new name, is refused where a file has come up meanwhile.
        let linked = fs::hard_link(&draft, to).and_then(|()| sync_folder(to));
        linked.map_err(|error| failed(to, &error))
    });
    // What is no backup does not stay.
    let _ = fs::remove_file(&draft);
    published?;
    Ok(Output::new(format!(
        "{} is a backup of the store, and was checked\n",
        crate::output::harmless(&to.display().to_string())
    )))
}

/// Creates the file of a backup under way, for its owner alone.
fn create(draft: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(draft).map_err(|error| failed(draft, &error))
}

fn make(arguments: &Backup, draft: &Path, file: &mut File) -> Result<(), Failure> {
    runtime::run(async {
        match &arguments.data_dir {
            Some(data) => {
                let store = RedbStore::open_existing(data::store_file(data));
                let copy = store.map_err(Failure::misuse)?.backup().await;
                let mut copy = copy.map_err(Failure::misuse)?;
                io::copy(&mut copy, file).map_err(|error| failed(draft, &error))?;
            }
            None => {
                let copied = arguments.server.client()?.store_backup(file).await;
                copied.map_err(|error| arguments.server.failed(&error))?;
            }
        }
        Ok(())
    })?;
    file.sync_all().map_err(|error| failed(draft, &error))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(file: &Path, error: &io::Error) -> Failure {
    Failure::misuse(format!(
        "cannot write the backup `{}`: {error}",
        file.display()
    ))
}
