//! Reading the folder of a policy set: which files belong to the set, and what the folder may
//! contain.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use super::error::{PolicyError, PolicyProblem};
use super::limits::{self, MAX_ENTITIES, MAX_SOURCES, MAX_TEXT, MAX_TEXTS};
use super::load::PoliciesBuilder;
use super::manifest::check_manifest;

const SCHEMA_FILE: &str = "schema.cedarschema";
const ENTITIES_FILE: &str = "entities.json";
/// How many entries a folder may have.
pub(crate) const MAX_ENTRIES: usize = 10_000;

/// Reads the files of a folder into a builder, if the folder contains nothing forbidden and matches
/// its manifest.
pub(super) fn read_dir(path: &Path) -> Result<PoliciesBuilder, PolicyError> {
    check_entries(path)?;
    check_manifest(path)?;
    let builder = read_files(path)?;
    // Checked again after reading, so that the files that were read are those that the manifest
    // lists.
    check_manifest(path)?;
    Ok(builder)
}

/// Reads the files of the set.
fn read_files(path: &Path) -> Result<PoliciesBuilder, PolicyError> {
    let names = file_names(path).map_err(|error| cannot_read(path, &error))?;
    // Up to two files are the schema and the entities.
    if names.len() > MAX_SOURCES + 2 {
        let message = format!("more than {MAX_SOURCES} `*.cedar` files: join some");
        return Err(PolicyProblem::unplaced(path.display().to_string(), message).into());
    }
    let mut builder = PoliciesBuilder::default();
    let mut problems = Vec::new();
    let mut left = MAX_TEXTS;
    let mut has_policies = false;
    for name in names {
        let file = path.join(&name);
        let is_entities = name == ENTITIES_FILE;
        let limit = if is_entities { MAX_ENTITIES } else { MAX_TEXT };
        let text = match limits::read_file(&file, limit) {
            Ok(text) => text,
            Err(error) => {
                problems.push(cannot_read(&file, &error));
                continue;
            }
        };
        if !is_entities && name != SCHEMA_FILE {
            // Checked file by file, since all of them may not fit into memory.
            left = left.checked_sub(text.len()).ok_or_else(|| {
                PolicyProblem::unplaced(path.display().to_string(), limits::too_large_together())
            })?;
        }
        // Policy ids contain the file's name. Two names that differ only in bytes that are not
        // UTF-8 are rejected as a repeated name.
        let name = name.to_string_lossy();
        has_policies |= name != SCHEMA_FILE && name != ENTITIES_FILE;
        builder = with_file(builder, &name, text);
    }
    if problems.is_empty() && !has_policies {
        let message = "no `*.cedar` file in this directory itself: there are no policies to load";
        problems.push(PolicyProblem::unplaced(path.display().to_string(), message));
    }
    if problems.is_empty() {
        Ok(builder)
    } else {
        Err(PolicyError::new(problems))
    }
}

/// Adds a file of a set. Its name says whether it has policies, the schema or the entities.
pub(super) fn with_file(builder: PoliciesBuilder, name: &str, text: String) -> PoliciesBuilder {
    match name {
        SCHEMA_FILE => builder.schema(name, text),
        ENTITIES_FILE => builder.entities(name, text),
        _ => builder.source(name, text),
    }
}

/// Returns the names of the files to read, sorted. A directory or a broken link with the name of a
/// policy file is included: reading it fails, which is safer than ignoring a `forbid`.
fn file_names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if is_part(&name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn cannot_read(path: &Path, error: &io::Error) -> PolicyProblem {
    PolicyProblem::unplaced(
        path.display().to_string(),
        format!("cannot be read: {error}"),
    )
}

fn check_entries(path: &Path) -> Result<(), PolicyError> {
    let mut problems = Vec::new();
    let mut problem = |path: &Path, message: &str| {
        problems.push(PolicyProblem::unplaced(path.display().to_string(), message));
    };
    // The loader reports a folder that cannot be listed.
    let Ok(entries) = fs::read_dir(path) else {
        return Ok(());
    };
    if fs::metadata(path).is_ok_and(|folder| is_writable_by_all(&folder)) {
        problem(
            path,
            "everyone can write to this folder of policies: run `chmod o-w` on it",
        );
    }
    for (count, entry) in entries.enumerate() {
        if count >= MAX_ENTRIES {
            problem(
                path,
                "the folder has more than 10000 entries: give the policies a folder of their own",
            );
            break;
        }
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if !metadata.is_file() && !metadata.is_dir() {
            problem(
                &path,
                "this is a pipe, a device or a socket: remove it from the folder of policies",
            );
        } else if is_part(&entry.file_name()) && is_writable_by_all(&metadata) {
            problem(&path, "everyone can write this file: run `chmod o-w` on it");
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(PolicyError::new(problems)),
    }
}

fn is_writable_by_all(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::mode(metadata) & 0o002 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Returns whether a file of this name belongs to the set.
pub(super) fn is_part(name: &OsStr) -> bool {
    // A name that starts with a dot is hidden, as for the shell's `*.cedar`.
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    let is_cedar = Path::new(name).extension() == Some(OsStr::new("cedar"));
    is_cedar && !is_hidden || name == SCHEMA_FILE || name == ENTITIES_FILE
}
