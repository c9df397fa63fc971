//! A folder of policies: when a changed set is whole, and what may be in the folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use crate::files;
use crate::policy::{Policies, PolicyError, PolicyProblem};

/// The file that lists the set, in the format of `sha256sum`.
const MANIFEST: &str = "policies.sha256";
/// The largest manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// The largest file that a manifest may list, in bytes.
const MAX_LISTED_BYTES: u64 = 64 * 1024 * 1024;
/// How many entries a folder may have.
const MAX_ENTRIES: usize = 10_000;
/// How long a set stays unchanged before it is taken, by default.
const SETTLE: Duration = Duration::from_secs(5);

/// A folder of policies, and what it looked like when it was last read.
///
/// A changed set is taken when the folder has been unchanged for the
/// [settle time](Self::settle), 5 seconds by default: files are copied one by one, and half of a
/// set must not decide.
///
/// A folder may hold a manifest `policies.sha256` in the format of `sha256sum`. Then each policy
/// file, the schema and the entities must be listed and match, or the set is refused. A set that
/// matches its manifest is whole, so it is taken without waiting.
///
/// Entries that are neither files nor folders (pipes, devices, sockets) are refused.
#[derive(Clone, Debug)]
pub struct PolicyFolder {
    pub(super) path: PathBuf,
    /// The state of the folder that was last read; `None` if the folder could not be listed.
    pub(super) seen: Option<Look>,
    /// A state that differs from `seen`, and when it was first observed.
    pending: Option<(Option<Look>, Instant)>,
    settle: Duration,
}

/// The entries of a folder, in the order of their names.
pub(super) type Look = Vec<Entry>;

/// What the system says of an entry, so that a change of its content shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
    /// A file that was moved here can have the former one's length and time.
    identity: (u64, u64, i64, i64),
}

impl PolicyFolder {
    /// Reads the policies of a folder, to watch it from then on.
    ///
    /// # Errors
    ///
    /// As [`Policies::from_dir`]; when the folder holds a pipe, a device or a socket, or more than
    /// 10,000 entries; when everyone can write to it; when it does not match its manifest.
    pub fn load(path: impl Into<PathBuf>) -> Result<(Policies, Self), PolicyError> {
        let path = path.into();
        // Listed first, so that a change in between is found the next time.
        let seen = look(&path).ok();
        let policies = read(&path)?;
        let folder = Self {
            path,
            seen,
            pending: None,
            settle: SETTLE,
        };
        Ok((policies, folder))
    }

    /// Sets how long a changed set has to stay unchanged before it is taken. The folder is looked
    /// at once a second.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Whether to read the folder, which looks like `state` at the time `now`: when it has changed
    /// and is whole, or when that is `asked` for.
    pub(super) fn is_due(&mut self, state: &State, asked: bool, now: Instant) -> bool {
        if asked {
            return true;
        }
        if state.look == self.seen {
            self.pending = None;
            return false;
        }
        if state.is_whole {
            return true;
        }
        let since = match &self.pending {
            Some((look, since)) if *look == state.look => *since,
            _ => {
                self.pending = Some((state.look.clone(), now));
                now
            }
        };
        now.saturating_duration_since(since) >= self.settle
    }
}

/// The state of a folder.
pub(super) struct State {
    pub(super) look: Option<Look>,
    /// Whether the set matches a manifest.
    is_whole: bool,
}

/// Looks at a folder. The manifest is compared only if the folder has changed.
pub(super) fn examine(path: &Path, seen: Option<&Look>) -> State {
    let look = look(path).ok();
    let is_whole = look.as_ref() != seen && matches!(check_manifest(path), Ok(true));
    State { look, is_whole }
}

/// Lists a folder. At most one entry more than a folder may have is kept.
pub(super) fn look(path: &Path) -> io::Result<Look> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(path)?.take(MAX_ENTRIES + 1) {
        let path = entry?.path();
        // Follows links: a mounted configuration changes by where they point.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        seen.push(Entry {
            path,
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(&metadata),
        });
    }
    seen.sort();
    Ok(seen)
}

/// Device, inode, and the time of the last change, which no program can set.
fn identity(metadata: &Metadata) -> (u64, u64, i64, i64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
        (metadata.dev(), metadata.ino(), seconds, nanoseconds)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        (0, 0, 0, 0)
    }
}

/// Reads the policies of a folder, if everything in it may be there and matches its manifest.
pub(super) fn read(path: &Path) -> Result<Policies, PolicyError> {
    check_entries(path)?;
    let refused = |problem| PolicyError::new(vec![problem]);
    check_manifest(path).map_err(refused)?;
    let policies = Policies::from_dir(path)?;
    // Compared once more: what was read in between is what the manifest lists.
    check_manifest(path).map_err(refused)?;
    Ok(policies)
}

fn check_entries(path: &Path) -> Result<(), PolicyError> {
    let mut problems = Vec::new();
    let mut problem = |path: &Path, message: &str| {
        problems.push(PolicyProblem::unplaced(path.display().to_string(), message));
    };
    // A folder that cannot be listed is explained by the loader.
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
        } else if is_policy(&entry.file_name()) && is_writable_by_all(&metadata) {
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

/// Whether a file of this name is a part of the set.
fn is_policy(name: &OsStr) -> bool {
    let is_cedar = Path::new(name).extension() == Some(OsStr::new("cedar"));
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    is_cedar && !is_hidden || name == "schema.cedarschema" || name == "entities.json"
}

/// Compares a folder with its manifest. Returns whether it has one.
fn check_manifest(folder: &Path) -> Result<bool, PolicyProblem> {
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
        if is_policy(&name) && !is_listed {
            return Err(problem(format!(
                "does not list `{}`: remove the file, or run `sha256sum` again",
                name.display()
            )));
        }
    }
    Ok(true)
}

/// The names of a manifest, with their digests. A line is 64 hex digits, a space, a space or `*`,
/// and the name of a file in the same folder.
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

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "permit (principal, action, resource);";
    const CLOSED: &str = "forbid (principal, action, resource);";

    fn line(name: &str, text: &str) -> String {
        let digest = base16ct::lower::encode_string(&Sha256::digest(text));
        format!("{digest}  {name}\n")
    }

    #[test]
    fn a_set_is_taken_when_it_has_been_unchanged_for_the_settle_time() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("a.cedar", OPEN);
        let (_, watched) = PolicyFolder::load(folder.path()).unwrap();
        let mut watched = watched.settle(Duration::from_secs(4));
        let start = Instant::now();
        let mut due = |asked, at: u64| {
            let state = examine(&watched.path, watched.seen.as_ref());
            watched.is_due(&state, asked, start + Duration::from_millis(at))
        };
        assert!(!due(false, 0));
        put("b.cedar", "forbid (principal,");
        assert!(!due(false, 1_000) && !due(false, 4_900));
        // It is still being written: the time begins again.
        put("b.cedar", CLOSED);
        assert!(!due(false, 5_000) && !due(false, 8_900));
        assert!(due(true, 8_900), "it was asked for");
        assert!(due(false, 9_000));
    }

    #[test]
    fn a_set_that_matches_its_manifest_is_taken_at_once_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("a.cedar", OPEN);
        put(MANIFEST, &line("a.cedar", OPEN));
        let (_, mut watched) = PolicyFolder::load(folder.path()).unwrap();
        let mut due = || {
            let state = examine(&watched.path, watched.seen.as_ref());
            watched.is_due(&state, false, Instant::now())
        };
        let refused = |why: &str| {
            let error = PolicyFolder::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        put("b.cedar", CLOSED);
        assert!(!due());
        refused("does not list `b.cedar`");
        put(
            MANIFEST,
            &(line("a.cedar", OPEN) + &line("b.cedar", CLOSED)),
        );
        assert!(due());
        PolicyFolder::load(folder.path()).unwrap();
        put("b.cedar", OPEN);
        refused("`b.cedar` has another content");
        fs::remove_file(folder.path().join("b.cedar")).unwrap();
        refused("`b.cedar`: ");
        for bad in ["", "x", "00  a.cedar", &line("../a.cedar", OPEN)] {
            put(MANIFEST, bad);
            refused(MANIFEST);
        }
        put(MANIFEST, &line("a.cedar", OPEN).repeat(2));
        refused("listed already");
        put(MANIFEST, &line("./a.cedar", OPEN).replace("  ", " *"));
        PolicyFolder::load(folder.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_is_switched_changes_the_whole_set() {
        use std::os::unix::fs::symlink;
        let parent = tempfile::tempdir().unwrap();
        for (version, text) in [("1", OPEN), ("2", CLOSED)] {
            fs::create_dir(parent.path().join(version)).unwrap();
            fs::write(parent.path().join(version).join("rules.cedar"), text).unwrap();
        }
        let current = parent.path().join("current");
        symlink("1", &current).unwrap();
        let (_, watched) = PolicyFolder::load(&current).unwrap();
        assert_eq!(examine(&current, watched.seen.as_ref()).look, watched.seen);
        symlink("2", parent.path().join("next")).unwrap();
        fs::rename(parent.path().join("next"), &current).unwrap();
        assert_ne!(examine(&current, watched.seen.as_ref()).look, watched.seen);
        read(&current).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_what_everyone_can_write_are_refused_without_waiting() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules.cedar");
        fs::write(&rules, OPEN).unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let refused = |why: &str| {
            let error = PolicyFolder::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        mode(&rules, 0o666);
        refused("everyone can write this file");
        mode(&rules, 0o664);
        mode(folder.path(), 0o777);
        refused("everyone can write to this folder");
        mode(folder.path(), 0o775);
        PolicyFolder::load(folder.path()).unwrap();
        for name in ["pipe.cedar", MANIFEST, "other"] {
            let pipe = folder.path().join(name);
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            assert!(made.unwrap().success());
            refused("a pipe");
            fs::remove_file(pipe).unwrap();
        }
    }
}
