//! `atlasent policy init`: writes a commented starter policy set with its tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::Failure;
use crate::files::write_new;
use crate::output::{Output, escaped, shell_argument};

/// Write a commented starter policy set, with a schema, entities and tests
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy init
  atlasent policy init /etc/atlasent/policies

Writes policies for two actions, a schema, entities, and tests for `atlasent policy test`. No file is overwritten:
if the directory already holds a policy or one of these files, the command fails and writes nothing.")]
pub(crate) struct Init {
    /// The directory to write to, created if it does not exist
    #[arg(value_name = "DIR", default_value = "policies")]
    directory: PathBuf,
}

/// The names and contents of the files.
const FILES: [(&str, &str); 6] = [
    ("payments.cedar", include_str!("../../init/payments.cedar")),
    ("files.cedar", include_str!("../../init/files.cedar")),
    (
        "suspended.cedar",
        include_str!("../../init/suspended.cedar"),
    ),
    (
        "schema.cedarschema",
        include_str!("../../init/schema.cedarschema"),
    ),
    ("entities.json", include_str!("../../init/entities.json")),
    ("tests.json", include_str!("../../init/tests.json")),
];

/// Writes all files of the set, or no file.
pub(crate) fn run(arguments: &Init) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    if let Some(existing) = conflicting_file(directory)? {
        return Err(Failure::misuse(format!(
            "`{}` already exists, so nothing was written: choose another directory",
            existing.display()
        )));
    }
    let write_failure = |path: &Path, error: &io::Error| {
        let path = path.display();
        Failure::misuse(format!(
            "cannot write `{path}`, so nothing was written: {error}"
        ))
    };
    let is_new = !directory.exists();
    fs::create_dir_all(directory).map_err(|error| write_failure(directory, &error))?;
    let mut written = Vec::new();
    for (name, content) in FILES {
        let path = directory.join(name);
        match write_new(&path, content) {
            Ok(()) => written.push(path),
            Err(error) => {
                remove_written(&written, directory, is_new);
                return Err(write_failure(&path, &error));
            }
        }
    }
    Ok(Output::new(report(directory, &written)))
}

/// Returns an existing file that conflicts with the set: a file of the same name, or a policy,
/// which the new schema may reject. Of several, returns the first by name.
fn conflicting_file(directory: &Path) -> Result<Option<PathBuf>, Failure> {
    let read_failure = |error: io::Error| {
        let shown = directory.display();
        Failure::misuse(format!("cannot read `{shown}`: {error}"))
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read_failure(error)),
    };
    let mut conflicting = Vec::new();
    for entry in entries {
        let path = entry.map_err(read_failure)?.path();
        let same_name = path
            .file_name()
            .is_some_and(|name| FILES.iter().any(|(file, _)| name == *file));
        if same_name
            || path
                .extension()
                .is_some_and(|extension| extension == "cedar")
        {
            conflicting.push(path);
        }
    }
    Ok(conflicting.into_iter().min())
}

/// Removes the files that were written before the failure, and a new directory.
fn remove_written(written: &[PathBuf], directory: &Path, is_new: bool) {
    for path in written {
        let _ = fs::remove_file(path);
    }
    if is_new {
        let _ = fs::remove_dir(directory);
    }
}

fn report(directory: &Path, written: &[PathBuf]) -> String {
    let wrote = written
        .iter()
        .map(|path| format!("wrote {}", path.display()));
    let next = [
        format!(
            "atlasent policy check --strict {}",
            shell_argument(&directory.to_string_lossy())
        ),
        format!(
            "atlasent policy test {}",
            shell_argument(&directory.join("tests.json").to_string_lossy())
        ),
        format!(
            "atlasent serve --policies {}",
            shell_argument(&directory.to_string_lossy())
        ),
    ];
    let next = next.iter().map(|command| format!("  {command}"));
    let lines = wrote
        .chain(["Next, edit the policies and their tests, and run:".to_owned()])
        .chain(next);
    lines.map(|line| escaped(&line) + "\n").collect()
}
