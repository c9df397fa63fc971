//! The data directory of an authority on this machine: its store, keys, policies and archive.

use std::fs;
use std::path::{Path, PathBuf};

use atlasent_authority::store::OrgId;
use clap::Args;
use etcetera::BaseStrategy;

use crate::exit::Failure;
use crate::output;

/// The option `--data-dir`, shared by the commands that read or write the data directory.
#[derive(Args, Clone)]
pub(crate) struct DataDir {
    /// The data directory [default: `atlasent` in the platform's data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DataDir {
    /// Returns the value of the option, if it was given.
    pub(crate) fn option(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// Returns the path of the data directory, which may not exist yet.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.data_dir {
            return Ok(path.clone());
        }
        let strategy = etcetera::choose_base_strategy().map_err(|_| {
            Failure::misuse(
                "this user has no home directory: set the data directory with `--data-dir`",
            )
        })?;
        Ok(strategy.data_dir().join("atlasent"))
    }

    /// Returns the data directory. Fails if it does not exist.
    pub(crate) fn existing(&self) -> Result<PathBuf, Failure> {
        resolve(&self.path()?)
    }

    /// Returns the data directory, after creating it for its owner alone if it does not exist. A
    /// symbolic link to it is resolved here, once. Links inside the directory are refused later.
    pub(crate) fn create(&self) -> Result<PathBuf, Failure> {
        let path = self.path()?;
        create_private(&path)?;
        resolve(&path)
    }
}

/// Resolves symbolic links in the path of an existing folder.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        Failure::misuse(format!(
            "cannot open the folder `{}`: {error}",
            path.display()
        ))
    })
}

/// Warns on standard error if the group of a folder can replace its files. This is a warning and
/// not a failure because Kubernetes volumes with `fsGroup` have such permissions. A folder that
/// everyone can write is refused where it is used.
pub(crate) fn warn_if_shared(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o020 != 0
    {
        let shown = path.display();
        output::print_stderr_line(
            "warning",
            &format!("the group of `{shown}` can replace its files: run `chmod g-w {shown}`"),
        );
    }
}

/// Creates a folder, and its missing parents, that only the owner can read (mode 0700).
pub(crate) fn create_private(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        Failure::misuse(format!(
            "cannot create the folder `{}`: {error}",
            path.display()
        ))
    })
}

/// Returns the path of the file with the API keys.
pub(crate) fn key_file(data: &Path) -> PathBuf {
    data.join("keys.json")
}

/// Returns the path of the `redb` store.
pub(crate) fn store_file(data: &Path) -> PathBuf {
    data.join("authority.redb")
}

/// Returns the path of the file with the last known chain head of the `redb` store.
pub(crate) fn head_file(data: &Path) -> PathBuf {
    data.join("head.json")
}

/// Returns the path of the file with the last known chain head of a PostgreSQL store.
pub(crate) fn database_head_file(data: &Path) -> PathBuf {
    data.join("head-database.json")
}

/// Returns the path of the folder with the last known chain heads of the organizations beside
/// `local`, with a `redb` store.
pub(crate) fn heads_folder(data: &Path) -> PathBuf {
    data.join("heads")
}

/// Returns the path of the folder with the last known chain heads of the organizations beside
/// `local`, with a PostgreSQL store.
pub(crate) fn database_heads_folder(data: &Path) -> PathBuf {
    data.join("heads-database")
}

/// Returns the path of the file with the last event that the OTLP collector accepted.
#[cfg(feature = "otlp")]
pub(crate) fn otlp_position_file(data: &Path) -> PathBuf {
    data.join("otlp-position.json")
}

/// Returns the path of the folder with the keys that sign exports.
pub(crate) fn signing_folder(data: &Path) -> PathBuf {
    data.join("signing")
}

/// Returns the path of the default policy folder.
pub(crate) fn policy_folder(data: &Path) -> PathBuf {
    data.join("policies")
}

/// Returns the path of the default folder for archived events.
pub(crate) fn archive_folder(data: &Path) -> PathBuf {
    data.join("archive")
}

/// Returns the path of the file with the organizations.
pub(crate) fn organization_file(data: &Path) -> PathBuf {
    data.join("organizations.json")
}

/// Returns the path of the folder with the organizations' policies.
pub(crate) fn organizations_folder(data: &Path) -> PathBuf {
    data.join("organizations")
}

/// Returns the path of the default folder with the policies of an organization.
pub(crate) fn organization_policies(data: &Path, id: &OrgId) -> PathBuf {
    organizations_folder(data)
        .join(id.as_str())
        .join("policies")
}
