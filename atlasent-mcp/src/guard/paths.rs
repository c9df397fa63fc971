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
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    struct Files {
        _folder: tempfile::TempDir,
        root: PathBuf,
        rules: PathRules,
    }

    fn files() -> Files {
        let folder = tempfile::tempdir().unwrap();
        let outer = folder.path().canonicalize().unwrap();
        let root = outer.join("files");
        fs::create_dir_all(root.join("public")).unwrap();
        fs::create_dir(root.join("private")).unwrap();
        fs::write(root.join("private/key"), "").unwrap();
        fs::write(root.join("public/a.txt"), "").unwrap();
        fs::write(outer.join("outside"), "").unwrap();
        symlink(root.join("private"), root.join("public/link")).unwrap();
        symlink(outer.join("outside"), root.join("public/out")).unwrap();
        symlink(outer.join("nothing"), root.join("public/dangling")).unwrap();
        let rules = PathRules::new(&root, ["path", "paths"]).unwrap();
        Files {
            _folder: folder,
            root,
            rules,
        }
    }

    impl Files {
        fn passes(&self, path: &str) -> bool {
            let path = path.replace("ROOT", self.root.to_str().unwrap());
            let call = |arguments: Value| Operation::tool("t", &arguments.to_string()).unwrap();
            let one = self.rules.check(&call(json!({ "path": path }))).is_ok();
            let many = self.rules.check(&call(json!({ "paths": [path] }))).is_ok();
            assert_eq!(one, many);
            one
        }
    }

    #[test]
    fn only_a_path_as_the_file_system_knows_it_passes() {
        let files = files();
        for path in [
            "ROOT",
            "ROOT/public/a.txt",
            "ROOT/public/new/er/b.txt",
            "ROOT/private/key",
        ] {
            assert!(files.passes(path), "{path}");
        }
        for path in [
            "",
            "public/a.txt",
            "/",
            "/etc/passwd",
            "ROOT/",
            "ROOT/../outside",
            "ROOTT/a",
            "ROOT/public/../private/key",
            "ROOT/public/./a.txt",
            "ROOT/public//a.txt",
            "ROOT/public/link/key",
            "ROOT/public/out",
            "ROOT/public/dangling",
            "ROOT/public/dangling/x",
            "ROOT/public/new/../../private/key",
            "ROOT/public/a.txt/x",
            "ROOT/public/\0",
        ] {
            assert!(!files.passes(path), "{path}");
        }
    }

    #[test]
    fn a_new_name_that_a_server_may_take_for_an_existing_one_is_refused() {
        let files = files();
        let folder = files.root.join("gesch\u{e4}ft");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("key"), "").unwrap();
        symlink(
            files.root.join("private"),
            files.root.join("public/l\u{ef}nk"),
        )
        .unwrap();
        fs::write(files.root.join("public/\u{fb01}le"), "").unwrap();
        fs::write(files.root.join("public/stra\u{df}e"), "").unwrap();
        for path in [
            "ROOT/gesch\u{e4}ft",
            "ROOT/gesch\u{e4}ft/key",
            "ROOT/gesch\u{e4}ft/new",
            // Its folder is new, too.
            "ROOT/new/gescha\u{308}ft",
            "ROOT/public/gescha\u{308}ft",
            "ROOT/public/\u{fb01}le",
        ] {
            assert!(files.passes(path), "{path}");
        }
        for path in [
            "ROOT/gescha\u{308}ft",
            "ROOT/gescha\u{308}ft/key",
            "ROOT/gescha\u{308}ft/new/er",
            "ROOT/GESCH\u{c4}FT/key",
            "ROOT/GESCHA\u{308}FT/key",
            "ROOT/Private/key",
            "ROOT/public/li\u{308}nk/key",
            "ROOT/public/A.txt",
            "ROOT/public/\u{ff41}.txt",
            "ROOT/public/file",
            "ROOT/public/STRASSE",
            "ROOT/public/stra\u{1e9e}e",
        ] {
            assert!(!files.passes(path), "{path}");
        }
    }

    #[test]
    fn a_folder_with_too_many_entries_takes_no_new_name() {
        let files = files();
        let new = NewName {
            folder: files.root.clone(),
            name: "new".into(),
        };
        // `private` and `public`.
        assert_eq!(new.look_alike(2).unwrap(), None);
        assert!(new.look_alike(1).is_err());
    }

    #[test]
    fn names_outside_of_the_folder_are_not_revealed() {
        let files = files();
        let root = files.root.to_str().unwrap();
        let outer = files.root.parent().unwrap();
        fs::create_dir(outer.join("folder")).unwrap();
        symlink(outer.join("nothing"), outer.join("dangling")).unwrap();
        symlink(outer.join("folder"), files.root.join("public/folder")).unwrap();
        symlink(outer.join("loop"), outer.join("loop")).unwrap();
        let reason = |path: &str| {
            let path = path.replace("OUTER", outer.to_str().unwrap());
            let path = path.replace("ROOT", root);
            let call = Operation::tool("t", &json!({ "path": path }).to_string()).unwrap();
            files.rules.check(&call).unwrap_err().reason().to_owned()
        };
        let expected = format!("the path in `path` is not below `{root}`");
        for path in [
            "OUTER/Outside",
            "OUTER/outside",
            "OUTER/outside/",
            "OUTER/outside/x",
            "OUTER/nothing",
            "OUTER/nothing/x",
            "OUTER/nothing/../x",
            "OUTER/folder/x",
            "OUTER/folder/../x",
            "OUTER/folder/\0",
            "OUTER/nothing/\0",
            "OUTER/dangling",
            "OUTER/dangling/x",
            "OUTER/loop",
            "ROOT/../outside/x",
            "ROOT/../nothing/x",
            // Links in the folder that lead out of it.
            "ROOT/public/out",
            "ROOT/public/out/",
            "ROOT/public/out/.",
            "ROOT/public/out/x",
            "ROOT/public/folder/",
            "ROOT/public/folder/x",
            "ROOT/public/folder/../outside/x",
            "ROOT/public/dangling",
            "ROOT/public/dangling/",
            "ROOT/public/dangling/.",
            "ROOT/public/dangling/x",
            "ROOT/public/dangling/../x",
        ] {
            assert_eq!(reason(path), expected, "{path}");
        }
        // What is in the folder is explained.
        for path in ["ROOT/public/a.txt/x", "ROOT/public/new/../x", "ROOT/\0"] {
            assert!(reason(path).contains("cannot be resolved"), "{path}");
        }
    }

    #[test]
    fn rules_that_confine_nothing_are_refused() {
        let files = files();
        let none: [&str; 0] = [];
        let error = PathRules::new(&files.root, none).unwrap_err();
        assert!(matches!(error, PathRulesError::NoArguments), "{error}");
        let missing = files.root.join("missing");
        let error = PathRules::new(&missing, ["path"]).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");

        let tool = |argument: &str| {
            let schema = json!({"type": "object", "properties": {argument: {"type": "string"}}});
            Tool::new(argument, schema).unwrap()
        };
        let all = [tool("path"), tool("paths"), tool("other")];
        assert_eq!(files.rules.unknown_argument(&all), None);
        assert_eq!(files.rules.unknown_argument(&all[..1]), Some("paths"));
    }

    #[test]
    fn an_argument_that_is_no_path_is_refused() {
        let files = files();
        for value in [
            json!(7),
            json!({"path": "x"}),
            json!([7]),
            json!([["ROOT"]]),
        ] {
            let call = Operation::tool("t", &json!({ "path": value }).to_string()).unwrap();
            assert!(files.rules.check(&call).is_err());
        }
    }

    proptest! {
        #[test]
        fn names_that_differ_in_unicode_form_only_share_a_form(name in "\\PC{1,12}") {
            let shared = caseless_form(OsStr::new(&name));
            for other in [
                name.nfc().collect::<String>(),
                name.nfd().collect(),
                name.nfkc().collect(),
                name.nfkd().collect(),
            ] {
                prop_assert_eq!(&caseless_form(OsStr::new(&other)), &shared);
            }
        }

        #[test]
        fn no_spelling_gets_outside(parts in prop::collection::vec("(\\.\\.|\\.|public|private|link|out|key|a)?", 0..6)) {
            let files = files();
            let path = format!("{}/{}", files.root.display(), parts.join("/"));
            if files.passes(&path) {
                let known = fs::canonicalize(&path);
                prop_assert!(known.is_err() || known.unwrap() == Path::new(&path));
            }
        }
    }
}
