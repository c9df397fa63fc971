//! The location of the API keys and of the registry of organizations: the data directory, or the
//! database that several servers share.

use std::path::PathBuf;

use atlasent::text::quoted;
use atlasent_authority::PostgresStore;
use clap::Args;

use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::output::shell_argument;
use crate::variable;

/// The options for the location, shared by the commands `key` and `org`.
#[derive(Args)]
pub(crate) struct Location {
    #[command(flatten)]
    data: DataDir,

    /// The environment variable with the URL of the servers' database, postgres://…, for keys and
    /// organizations
    #[arg(long, value_name = "NAME", conflicts_with = "data_dir")]
    store_env: Option<String>,
}

/// An open location.
pub(crate) enum Place {
    /// The data directory.
    Folder(PathBuf),
    Database(PostgresStore),
}

impl Location {
    /// Opens the location. Fails if the data directory does not exist.
    pub(crate) async fn open(&self) -> Result<Place, Failure> {
        self.open_in(DataDir::existing).await
    }

    /// Opens the location, after creating the data directory if it does not exist.
    pub(crate) async fn create(&self) -> Result<Place, Failure> {
        self.open_in(DataDir::create).await
    }

    async fn open_in(
        &self,
        folder: impl FnOnce(&DataDir) -> Result<PathBuf, Failure>,
    ) -> Result<Place, Failure> {
        match &self.store_env {
            Some(variable) => {
                let store = PostgresStore::connect(&database_url(variable)?).await;
                Ok(Place::Database(store.map_err(Failure::misuse)?))
            }
            None => Ok(Place::Folder(folder(&self.data)?)),
        }
    }

    /// Returns the options as they were given, with a space in front, for a command to run next.
    pub(crate) fn options(&self) -> String {
        match (&self.store_env, self.data.option()) {
            (Some(variable), _) => format!(" --store-env {}", shell_argument(variable)),
            (None, Some(folder)) => {
                format!(" --data-dir {}", shell_argument(&folder.to_string_lossy()))
            }
            (None, None) => String::new(),
        }
    }
}

/// Reads a database URL from an environment variable. As an argument, its password would be visible
/// to every user of the machine.
pub(crate) fn database_url(variable: &str) -> Result<String, Failure> {
    let name = quoted(variable);
    let url = variable::read("--store-env", variable)?;
    match url.starts_with("postgres://") || url.starts_with("postgresql://") {
        true => Ok(url),
        false => Err(Failure::misuse(format!(
            "`--store-env`: {name} must hold a URL such as `postgres://user:password@host/database`"
        ))),
    }
}
