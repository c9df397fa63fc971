//! A watched folder of policies: detects a change, and when the changed set is complete.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::failure_log::FailureLog;
use crate::policy::{MAX_ENTRIES, Policies, PolicyError, check_manifest};
use crate::server::organizations::SharedPolicies;

/// The default settle time.
const SETTLE: Duration = Duration::from_secs(5);

/// A folder of policies that a server watches.
///
/// The server reads a changed set when the folder has been unchanged for the
/// [settle time](Self::settle), 5 seconds by default: files are copied one by one, and an
/// incomplete set must not decide.
///
/// A set that matches its manifest `policies.sha256` (see [`Policies::from_dir`]) is complete, so
/// the server reads it without waiting.
#[derive(Clone, Debug)]
pub struct PolicyFolder {
    pub(crate) path: PathBuf,
    /// The listing of the folder when it was last read; `None` if the folder could not be listed.
    pub(crate) last_read: Option<Listing>,
    /// A listing that differs from `last_read`, and when it was first observed.
    pending: Option<(Option<Listing>, Instant)>,
    settle: Duration,
    /// Limits the log of failed attempts to record that the policies were read.
    pub(super) recording: FailureLog,
    /// The sets of policies that organizations share.
    pub(super) shared: Arc<SharedPolicies>,
}

/// The entries of a folder, sorted by name.
pub(crate) type Listing = Vec<Entry>;

/// The metadata of an entry that changes with its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
    /// Tells apart two files with the same name, length and time.
    identity: (u64, u64, i64, i64),
}

impl PolicyFolder {
    /// Reads the policies of a folder, and returns the folder to be watched from then on.
    ///
    /// # Errors
    ///
    /// The errors of [`Policies::from_dir`].
    pub fn load(path: impl Into<PathBuf>) -> Result<(Policies, Self), PolicyError> {
        let folder = Self::listed(path.into());
        Ok((Policies::from_dir(&folder.path)?, folder))
    }

    /// Reads the policies of a folder. Another organization may share the returned set. Also
    /// returns the folder to watch from then on, even if its policies are invalid now.
    pub(in crate::server) fn read(
        path: PathBuf,
        shared: Arc<SharedPolicies>,
    ) -> (Result<Arc<Policies>, PolicyError>, Self) {
        let folder = Self {
            shared,
            ..Self::listed(path)
        };
        (folder.shared.read(&folder.path), folder)
    }

    /// Lists a folder that is about to be read, so that a change in between is found the next time.
    fn listed(path: PathBuf) -> Self {
        Self {
            last_read: list(&path).ok(),
            ..Self::unread(path)
        }
    }

    /// Creates a folder that is not read yet.
    pub(crate) fn unread(path: PathBuf) -> Self {
        Self {
            path,
            last_read: None,
            pending: None,
            settle: SETTLE,
            recording: FailureLog::default(),
            shared: Arc::default(),
        }
    }

    /// Sets the settle time: how long a changed folder has to stay unchanged before it is read. The
    /// folder is listed once a second.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Returns whether to read the folder, whose state at the time `now` is `state`: if it has
    /// changed and is complete, or if a signal `asked` for it.
    pub(crate) fn is_due(&mut self, state: &FolderState, asked: bool, now: Instant) -> bool {
        if asked {
            return true;
        }
        if state.listing == self.last_read {
            self.pending = None;
            return false;
        }
        if state.is_complete {
            return true;
        }
        let since = match &self.pending {
            Some((listing, since)) if *listing == state.listing => *since,
            _ => {
                self.pending = Some((state.listing.clone(), now));
                now
            }
        };
        now.saturating_duration_since(since) >= self.settle
    }
}

/// The state of a folder.
pub(crate) struct FolderState {
    pub(crate) listing: Option<Listing>,
    /// Whether the folder has changed and matches its manifest.
    is_complete: bool,
}

impl FolderState {
    /// Lists a folder. Compares it with its manifest only if it has changed since `last_read`.
    pub(crate) fn read(path: &Path, last_read: Option<&Listing>) -> Self {
        let listing = list(path).ok();
        let is_changed = listing.as_ref() != last_read;
        let is_complete = is_changed && matches!(check_manifest(path), Ok(true));
        Self {
            listing,
            is_complete,
        }
    }
}

/// Lists a folder, up to one entry more than a folder of policies may have.
pub(crate) fn list(path: &Path) -> io::Result<Listing> {
    let mut listing = Vec::new();
    for entry in fs::read_dir(path)?.take(MAX_ENTRIES + 1) {
        let path = entry?.path();
        // `metadata` follows links: a mounted configuration changes by switching a link.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        listing.push(Entry {
            path,
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(&metadata),
        });
    }
    listing.sort();
    Ok(listing)
}

/// The device, the inode and the change time, which programs cannot set.
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
            let state = FolderState::read(&watched.path, watched.last_read.as_ref());
            watched.is_due(&state, asked, start + Duration::from_millis(at))
        };
        assert!(!due(false, 0));
        put("b.cedar", "forbid (principal,");
        assert!(!due(false, 1_000) && !due(false, 4_900));
        // Another change restarts the settle time.
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
            let state = FolderState::read(&watched.path, watched.last_read.as_ref());
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
        assert_eq!(
            FolderState::read(&current, watched.last_read.as_ref()).listing,
            watched.last_read
        );
        symlink("2", parent.path().join("next")).unwrap();
        fs::rename(parent.path().join("next"), &current).unwrap();
        assert_ne!(
            FolderState::read(&current, watched.last_read.as_ref()).listing,
            watched.last_read
        );
        Policies::from_dir(&current).unwrap();
    }
}
