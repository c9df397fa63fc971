//! The folder in which an authority of this machine keeps what it has to remember.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy;

use crate::exit::Failure;
use crate::output;

/// Which folder; part of every command that works on an authority of this machine.
#[derive(Args)]
pub(crate) struct DataDir {
    /// The data directory [default: `atlasent` in the platform's data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The folder, which may not be there yet.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.data_dir {
            return Ok(path.clone());
        }
        let strategy = etcetera::choose_base_strategy().map_err(|_| {
            Failure::misuse("this user has no home directory: name a folder with `--data-dir`")
        })?;
        Ok(strategy.data_dir().join("atlasent"))
    }

    /// The folder, which has to exist.
    pub(crate) fn existing(&self) -> Result<PathBuf, Failure> {
        resolved(&self.path()?)
    }

    /// The folder, created for its owner alone if it does not exist. A link that the operator names
    /// is resolved here, once; links inside of the folder are refused later.
    pub(crate) fn make(&self) -> Result<PathBuf, Failure> {
        let path = self.path()?;
        make(&path)?;
        resolved(&path)
    }
}

/// The folder that a path leads to, by its own name.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        Failure::misuse(format!(
            "cannot open the folder `{}`: {error}",
            path.display()
        ))
    })
}

/// Says on standard error that the members of a group can replace what a folder holds. That is
/// a warning and no failure: volumes of Kubernetes with `fsGroup` are like that. A folder that
/// everyone can write is refused where it is used.
pub(crate) fn warn_if_shared(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o020 != 0
    {
        let shown = path.display();
        output::say(
            "warning",
            &format!("the group of `{shown}` can replace its files: run `chmod g-w {shown}`"),
        );
    }
}

/// Creates a folder that only its owner may list.
pub(crate) fn make(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        Failure::misuse(format!(
            "cannot make the folder `{}`: {error}",
            path.display()
        ))
    })
}

/// The file of API keys in a data folder.
pub(crate) fn key_file(data: &Path) -> PathBuf {
    data.join("keys.json")
}

/// The file of the `redb` store in a data folder.
pub(crate) fn store_file(data: &Path) -> PathBuf {
    data.join("authority.redb")
}

/// The file with the newest head that was seen of the `redb` store.
pub(crate) fn head_file(data: &Path) -> PathBuf {
    data.join("head.json")
}

/// The same, of a store in a database.
pub(crate) fn database_head_file(data: &Path) -> PathBuf {
    data.join("head-database.json")
}

/// The file with the last event that the OTLP collector took.
#[cfg(feature = "otlp")]
pub(crate) fn otlp_position_file(data: &Path) -> PathBuf {
    data.join("otlp-position.json")
}

/// The folder of the keys that sign exports.
pub(crate) fn signing_folder(data: &Path) -> PathBuf {
    data.join("signing")
}

/// The folder of the policies, where none is named.
pub(crate) fn policy_folder(data: &Path) -> PathBuf {
    data.join("policies")
}

/// The folder of archived events, where none is named.
pub(crate) fn archive_folder(data: &Path) -> PathBuf {
    data.join("archive")
}
