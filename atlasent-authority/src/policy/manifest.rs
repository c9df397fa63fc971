//! The manifest of a policy set: a file that lists the set's files with their digests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::PolicyProblem;
use super::folder::{MAX_ENTRIES, is_part};
use crate::files;

/// The name of the manifest, which has the format of `sha256sum`.
const MANIFEST: &str = "policies.sha256";
/// The largest manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// The largest file that a manifest may list, in bytes.
const MAX_LISTED_BYTES: u64 = 64 * 1024 * 1024;

/// Compares a folder with its manifest. Returns whether the folder has one.
pub(crate) fn check_manifest(folder: &Path) -> Result<bool, PolicyProblem> {
    let path = folder.join(MANIFEST);
    let problem = |message: String| PolicyProblem::unplaced(path.display().to_string(), message);
    let text = match files::read(&path, MAX_MANIFEST_BYTES) {
        Ok((text, _)) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(problem(format!("cannot be read: {error}"))),
    };
    let text = std::str::from_utf8(&text).map_err(|_| problem("is not UTF-8".to_owned()))?;
    let listed = parse(text).map_err(problem)?;
    for (name, digest) in &listed {
        let bytes = files::read(&folder.join(name), MAX_LISTED_BYTES);
        let (bytes, _) = bytes.map_err(|error| problem(format!("`{name}`: {error}")))?;
        if *Sha256::digest(&bytes) != *digest {
            return Err(problem(format!(
                "`{name}` has another content than the manifest says: finish copying, or run \
                 `sha256sum` again"
            )));
        }
    }
    let entries = fs::read_dir(folder).map_err(|error| problem(error.to_string()))?;
    for entry in entries.take(MAX_ENTRIES) {
        let name = entry
            .map_err(|error| problem(error.to_string()))?
            .file_name();
        let is_listed = name.to_str().is_some_and(|name| listed.contains_key(name));
        if is_part(&name) && !is_listed {
            return Err(problem(format!(
                "does not list `{}`: remove the file, or run `sha256sum` again",
                name.display()
            )));
        }
    }
    Ok(true)
}

/// Parses the names of a manifest, with their digests. A line has 64 hex digits, a space, a space
/// or `*`, and the name of a file in the same folder.
fn parse(text: &str) -> Result<BTreeMap<&str, [u8; 32]>, String> {
    let mut listed = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        let number = number + 1;
        let entry = line.split_once(' ').and_then(|(hex, rest)| {
            let name = rest.strip_prefix(' ').or_else(|| rest.strip_prefix('*'))?;
            let name = name.strip_prefix("./").unwrap_or(name);
            let mut digest = [0; 32];
            let length = base16ct::mixed::decode(hex, &mut digest).ok()?.len();
            let is_name = !name.is_empty() && !name.contains(['/', '\\']);
            (length == 32 && is_name).then_some((name, digest))
        });
        let (name, digest) = entry.ok_or_else(|| {
            format!("line {number} is not as `sha256sum` writes it for a file of this folder")
        })?;
        if listed.insert(name, digest).is_some() {
            return Err(format!("line {number} lists a file that is listed already"));
        }
    }
    match listed.is_empty() {
        true => Err("lists no file: run `sha256sum` again".to_owned()),
        false => Ok(listed),
    }
}
