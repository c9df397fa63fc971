//! Path arguments of tools that stay below a folder.
//!
//! A policy that allows `context.path like "/srv/files/public/*"` is no use if the path is
//! `/srv/files/public/../private/key`, or goes through a symbolic link. The guard does not rewrite
//! the path, because the forwarded call has to be the one that was decided on. It refuses a path
//! that is not in the file system's own form, and says how to write it:
//!
//! ```text
//! root /srv/files                     form in the file system
//! /srv/files/public/a.txt             the same                      passes
//! /srv/files/public/new.txt           does not exist yet            passes: its folder is the same
//! /srv/files/public/../private/key    /srv/files/private/key        refused
//! /srv/files/public/link/key          /srv/files/private/key        refused
//! /srv/files/Public/new.txt           new, and looks like `public`  refused
//! /etc/passwd                         not below the root            refused
//! public/a.txt                        depends on where it is read   refused
//! ```
//!
//! If a name does not exist, a server may try it in another Unicode form, as the reference server
//! for files does. Some file systems also ignore the case. So the guard would decide on
//! `gescha\u{308}ft/key`, and the server would read `gesch\u{e4}ft/key`. A new name therefore has
//! to differ from its neighbours in more than case and Unicode form.
//!
//! The guard does not notice a link that is created between the decision and the call. An attacker
//! who can create it already has access to the files.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::Refusal;
use crate::operation::{Operation, shown};
use crate::tool::Tool;

/// The code of a refusal because of a path.
const PATH_REFUSED: &str = "PATH_REFUSED";

/// The most entries of a folder that a new name in it is compared with.
const MAX_ENTRIES: usize = 100_000;

/// The arguments that are paths, and the folder that they stay below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRules {
    root: PathBuf,
    arguments: Vec<String>,
}

/// Why paths cannot be confined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathRulesError {
    /// No argument is named.
    #[error(
        "`arguments` is empty, so no path would be confined: name the arguments that are paths"
    )]
    NoArguments,
    /// The folder cannot be resolved.
    #[error("the root `{path}` cannot be resolved: {source}")]
    Root {
        /// The path of the folder.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl PathRules {
    /// Confines the named arguments of all tools to a folder, which must exist. An argument is a
    /// path, or an array of paths.
    ///
    /// # Errors
    ///
    /// [`PathRulesError`] when no argument is named, or the folder cannot be resolved.
    pub fn new(
        root: &Path,
        arguments: impl IntoIterator<Item: Into<String>>,
    ) -> Result<Self, PathRulesError> {
        let arguments: Vec<String> = arguments.into_iter().map(Into::into).collect();
        if arguments.is_empty() {
            return Err(PathRulesError::NoArguments);
        }
        let root = root.canonicalize().map_err(|source| PathRulesError::Root {
            path: root.display().to_string(),
            source,
        })?;
        Ok(Self { root, arguments })
    }

    /// Returns the folder, with its symbolic links resolved.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns an argument of the rules that no tool has, and that would therefore confine nothing.
    pub(crate) fn unknown_argument(&self, tools: &[Tool]) -> Option<&str> {
        let unknown = self
            .arguments
            .iter()
            .find(|argument| !tools.iter().any(|tool| tool.has_argument(argument)));
        unknown.map(String::as_str)
    }

    /// Refuses a call with a path that is not below the folder, or not written as the file system
    /// knows it.
    pub(crate) fn check(&self, operation: &Operation) -> Result<(), Refusal> {
        for argument in &self.arguments {
            match operation.context().get(argument) {
                None | Some(Value::Null) => {}
                Some(Value::String(path)) => self.check_path(argument, path)?,
                Some(Value::Array(paths)) => {
                    for path in paths {
                        let path = path.as_str().ok_or_else(|| no_path(argument))?;
                        self.check_path(argument, path)?;
                    }
                }
                Some(_) => return Err(no_path(argument)),
            }
        }
        Ok(())
    }

    fn check_path(&self, argument: &str, text: &str) -> Result<(), Refusal> {
        let path = Path::new(text);
        let refuse = |why: String| {
            let argument = shown(argument);
            Err(Refusal::deny(
                PATH_REFUSED,
                format!("the path in `{argument}` {why}"),
            ))
        };
        let root = self.root.display();
        if !path.is_absolute() {
            return refuse(format!("is relative: write it from `{root}` on"));
        }
        let outside = || refuse(format!("is not below `{root}`"));
        // Without `/` and `/.` at the end, which follow a link there.
        let path = path.components().as_path();
        let resolved = match resolve(path) {
            Ok(resolved) => resolved,
            Err(error) if self.fails_inside(path) => {
                return refuse(format!("cannot be resolved ({})", error.kind()));
            }
            Err(_) => return outside(),
        };
        if !resolved.path.starts_with(&self.root) {
            return outside();
        }
        // Compared as texts: `Path` takes `/a//b/.` and `/a/b` for the same.
        if resolved.path.to_str() != Some(text) {
            let written = resolved.path.to_string_lossy();
            return refuse(format!("has to be written as `{}`", shown(&written)));
        }
        let Some(new) = resolved.new else {
            return Ok(());
        };
        match new.look_alike(MAX_ENTRIES) {
            Ok(None) => Ok(()),
            Ok(Some(entry)) => refuse(format!(
                "has a part that differs from the existing `{}` in case or Unicode form only",
                shown(&entry.to_string_lossy())
            )),
            Err(error) => refuse(format!("cannot be compared with its folder ({error})")),
        }
    }

    /// Returns whether a path that cannot be resolved fails at a name in the folder. If it fails
    /// elsewhere, the kind of the failure would reveal what exists there:
    ///
    /// ```text
    /// /srv/files/a.txt/x     `a.txt` is a file in the folder             inside
    /// /etc/passwd/x          `passwd` is a file elsewhere                not inside
    /// /srv/files/link/x      the target of `link` does not exist, and
    ///                        may be elsewhere                            not inside
    /// ```
    fn fails_inside(&self, path: &Path) -> bool {
        for part in path.ancestors() {
            match part.canonicalize() {
                Ok(existing) => return existing.starts_with(&self.root),
                Err(_) if part.is_symlink() => return false,
                Err(_) => {}
            }
        }
        false
    }
}

/// A path in the file system's own form.
struct ResolvedPath {
    path: PathBuf,
    /// The first part that does not exist.
    new: Option<NewName>,
}

/// A name that does not exist in an existing folder.
struct NewName {
    folder: PathBuf,
    name: OsString,
}

impl NewName {
    /// Returns an entry of the folder that a server or a file system may take for the new name. A
    /// folder with more than `at_most` entries is an error.
    fn look_alike(&self, at_most: usize) -> io::Result<Option<OsString>> {
        let wanted = caseless_form(&self.name);
        for (position, entry) in self.folder.read_dir()?.enumerate() {
            if position == at_most {
                return Err(io::Error::other(format!(
                    "it has more than {at_most} entries"
                )));
            }
            let entry = entry?.file_name();
            if caseless_form(&entry) == wanted {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// Returns a form that is equal for names that differ only in case or Unicode form (compatibility
/// caseless matching, Unicode Standard, 3.13).
fn caseless_form(name: &OsStr) -> String {
    let composed: String = name.to_string_lossy().nfkc().collect();
    // To lower case first: `ẞ` has no other upper case, and `ß` has `SS`.
    composed.to_lowercase().to_uppercase().nfkc().collect()
}

/// Returns a path in the file system's own form. The last parts need not exist.
fn resolve(path: &Path) -> io::Result<ResolvedPath> {
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(folder) => {
                let mut path = folder.clone();
                path.extend(missing.iter().rev());
                let new = missing.last().map(|name| NewName {
                    folder,
                    name: name.to_os_string(),
                });
                return Ok(ResolvedPath { path, new });
            }
            // A dangling link exists: what it would create is elsewhere.
            Err(error) if error.kind() != io::ErrorKind::NotFound || existing.is_symlink() => {
                return Err(error);
            }
            Err(error) => {
                let Some(Component::Normal(name)) = existing.components().next_back() else {
                    return Err(error);
                };
                missing.push(name);
                existing = existing.parent().ok_or(error)?;
            }
        }
    }
}

fn no_path(argument: &str) -> Refusal {
    let argument = shown(argument);
    Refusal::invalid(
        PATH_REFUSED,
        format!("`{argument}` is neither a path nor a list of paths"),
    )
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
