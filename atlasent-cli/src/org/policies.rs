//! The folder with the policies of an organization, and its first policy.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use atlasent_authority::files::create_below;
use atlasent_authority::store::OrgId;

use crate::data_dir;
use crate::exit::Failure;
use crate::location::Place;

/// The first policy, which denies every request: a server does not load a folder without policies.
const START: (&str, &str) = ("policies.cedar", include_str!("policies.cedar"));

/// The folder with the policies of an organization.
pub(super) struct PolicyFolder {
    /// The folder that holds those of all organizations.
    base: PathBuf,
    /// The organization's folder, below `base`.
    below: PathBuf,
}

impl PolicyFolder {
    /// Returns the folder of an organization: in `base`, or else in the data directory. A database
    /// has none: each of its servers has a data directory of its own, perhaps on another machine.
    pub(super) fn new(
        base: Option<&Path>,
        place: &Place,
        id: &OrgId,
    ) -> Result<Option<Self>, Failure> {
        Ok(match (base, place) {
            (Some(base), _) => {
                fs::create_dir_all(base).map_err(|error| cannot_write(base, &error))?;
                Some(Self {
                    base: data_dir::resolve(base)?,
                    below: id.as_str().into(),
                })
            }
            (None, Place::Folder(data)) => {
                let policies = data_dir::organization_policies(data, id);
                let below = policies.strip_prefix(data).unwrap_or(&policies).to_owned();
                Some(Self {
                    base: data.clone(),
                    below,
                })
            }
            (None, Place::Database(_)) => None,
        })
    }

    /// Returns the path of the folder.
    pub(super) fn path(&self) -> PathBuf {
        self.base.join(&self.below)
    }

    /// Creates the folder with its first policy, unless it has policies. Returns the file that was
    /// written.
    pub(super) fn start(&self) -> Result<Option<PathBuf>, Failure> {
        let path = self.path();
        if has_policies(&path).map_err(|error| cannot_write(&path, &error))? {
            return Ok(None);
        }
        let (name, text) = START;
        let write = |file: &mut fs::File| file.write_all(text.as_bytes());
        create_below(&self.base, self.below.join(name), write)
            .map_err(|error| cannot_write(&path.join(name), &error))?;
        Ok(Some(path.join(name)))
    }
}

fn has_policies(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if entry?.path().extension().is_some_and(|end| end == "cedar") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::misuse(format!("cannot write `{}`: {error}", path.display()))
}
