//! A watched folder of policies: when it has changed, and when the changed set is whole.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::policy::{MAX_ENTRIES, Policies, PolicyError, check_manifest};

/// How long a set stays unchanged before it is taken, by default.
const SETTLE: Duration = Duration::from_secs(5);

/// A folder of policies, and what it looked like when it was last read.
///
/// A changed set is taken when the folder has been unchanged for the
/// [settle time](Self::settle), 5 seconds by default: files are copied one by one, and half of a
/// set must not decide.
///
/// A set that matches its manifest `policies.sha256` (see [`Policies::from_dir`]) is whole, so it
/// is taken without waiting.
#[derive(Clone, Debug)]
pub struct PolicyFolder {
    pub(crate) path: PathBuf,
    /// The state of the folder that was last read; `None` if the folder could not be listed.
    pub(crate) seen: Option<Look>,
    /// A state that differs from `seen`, and when it was first observed.
    pending: Option<(Option<Look>, Instant)>,
    settle: Duration,
}

/// The entries of a folder, in the order of their names.
pub(crate) type Look = Vec<Entry>;

/// What the system says of an entry, so that a change of its content shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
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
    /// As [`Policies::from_dir`].
    pub fn load(path: impl Into<PathBuf>) -> Result<(Policies, Self), PolicyError> {
        let path = path.into();
        // Listed first, so that a change in between is found the next time.
        let seen = look(&path).ok();
        let policies = Policies::from_dir(&path)?;
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
    pub(crate) fn is_due(&mut self, state: &State, asked: bool, now: Instant) -> bool {
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
pub(crate) struct State {
    pub(crate) look: Option<Look>,
    /// Whether the set matches a manifest.
    is_whole: bool,
}

/// Looks at a folder. The manifest is compared only if the folder has changed.
pub(crate) fn examine(path: &Path, seen: Option<&Look>) -> State {
    let look = look(path).ok();
    let is_whole = look.as_ref() != seen && matches!(check_manifest(path), Ok(true));
    State { look, is_whole }
}

/// Lists a folder. At most one entry more than a folder may have is kept.
pub(crate) fn look(path: &Path) -> io::Result<Look> {
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

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const MANIFEST: &str = "policies.sha256";
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
    fn a_set_that_matches_its_manifest_is_taken_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("a.cedar", OPEN);
        put(MANIFEST, &line("a.cedar", OPEN));
        let (_, mut watched) = PolicyFolder::load(folder.path()).unwrap();
        let mut due = || {
            let state = examine(&watched.path, watched.seen.as_ref());
            watched.is_due(&state, false, Instant::now())
        };
        put("b.cedar", CLOSED);
        assert!(!due());
        put(
            MANIFEST,
            &(line("a.cedar", OPEN) + &line("b.cedar", CLOSED)),
        );
        assert!(due());
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
        Policies::from_dir(&current).unwrap();
    }
}
