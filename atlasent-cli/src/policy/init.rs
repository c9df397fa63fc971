//! `atlasent policy init`: a commented policy set to start from, with its tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::Failure;
use crate::files::write_new;
use crate::output::{Output, harmless};

/// Write a commented policy set to start from, with a schema, entities and tests
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy init
  atlasent policy init /etc/atlasent/policies

Writes policies for two actions, the schema and the entities that they are checked against, and
tests for `atlasent policy test`. Nothing is overwritten: a directory that holds policies, or one
of these files, is refused, and then nothing is written.")]
pub(crate) struct Init {
    /// The directory to write to, made if it does not exist
    #[arg(value_name = "DIR", default_value = "policies")]
    directory: PathBuf,
}

/// The files of the set.
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

/// Writes the set, or nothing.
pub(crate) fn run(arguments: &Init) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    if let Some(taken) = taken(directory)? {
        return Err(Failure::misuse(format!(
            "`{}` already exists, so nothing was written: name another directory",
            taken.display()
        )));
    }
    let cannot = |path: &Path, error: &io::Error| {
        let path = path.display();
        Failure::misuse(format!(
            "cannot write `{path}`, so nothing was written: {error}"
        ))
    };
    let is_new = !directory.exists();
    fs::create_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    let mut written = Vec::new();
    for (name, content) in FILES {
        let path = directory.join(name);
        match write_new(&path, content) {
            Ok(()) => written.push(path),
            Err(error) => {
                take_back(&written, directory, is_new);
                return Err(cannot(&path, &error));
            }
        }
    }
    Ok(Output::new(report(directory, &written)))
}

/// What stands in the way: one of the files, or a policy, which the schema may not fit.
fn taken(directory: &Path) -> Result<Option<PathBuf>, Failure> {
    let cannot = |error: io::Error| {
        let shown = directory.display();
        Failure::misuse(format!("cannot read `{shown}`: {error}"))
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mut taken = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        let is_ours = path
            .file_name()
            .is_some_and(|name| FILES.iter().any(|(ours, _)| name == *ours));
        if is_ours
            || path
                .extension()
                .is_some_and(|extension| extension == "cedar")
        {
            taken.push(path);
        }
    }
    // Always the same one.
    Ok(taken.into_iter().min())
}

/// Removes what was written before a file that could not be.
fn take_back(written: &[PathBuf], directory: &Path, is_new: bool) {
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
        format!("atlasent policy check --strict {}", argument(directory)),
        format!(
            "atlasent policy test {}",
            argument(&directory.join("tests.json"))
        ),
        format!("atlasent serve --policies {}", argument(directory)),
    ];
    let next = next.iter().map(|command| format!("  {command}"));
    let lines = wrote
        .chain(["Change the policies and their tests, then:".to_owned()])
        .chain(next);
    lines.map(|line| harmless(&line) + "\n").collect()
}

/// A path as a shell takes it.
fn argument(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if text.bytes().all(is_plain) && !text.starts_with('-') {
        return text;
    }
    let text = if text.starts_with('-') {
        format!("./{text}")
    } else {
        text
    };
    format!("'{}'", text.replace('\'', r"'\''"))
}
