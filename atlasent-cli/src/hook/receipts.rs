//! The receipts of permitted tool calls that have not ended.
//!
//! Each hook is a separate process, and agents keep no data between them. So the pre-tool hook
//! writes a file for the call, and the post-tool hook reads and removes it:
//!
//! ```text
//! <data folder>/receipts/<key of the call>      {"receipt": {…}, "started_ms": 1767225600000}
//! ```
//!
//! A call that never ends leaves its file. Files are removed after a day, and the oldest ones when
//! there are too many.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atlasent::receipts::DeferredReceipt;
use atlasent_mcp::hook::CallId;
use serde::{Deserialize, Serialize};

use crate::data_dir;
use crate::exit::Failure;
use crate::files::read_at_most;

/// The most receipts that are kept.
const MAX_OWED: usize = 1_024;
/// How long a receipt is kept.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of a file.
const MAX_BYTES: usize = 64 * 1024;

/// The folder of the kept receipts.
pub(super) struct OwedReceipts {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwedReceipt {
    receipt: DeferredReceipt,
    /// When the call was permitted, in milliseconds since 1970.
    started_ms: u64,
}

impl OwedReceipts {
    /// Opens the folder. A new one is readable by its owner only.
    pub(super) fn open(data: &Path) -> Result<Self, Failure> {
        let folder = data.join("receipts");
        data_dir::create_private(&folder)?;
        Ok(Self { folder })
    }

    /// Keeps the receipt of a call. An earlier one of the same call is replaced: its permit was for
    /// an attempt that did not run.
    pub(super) fn keep(&self, id: &CallId, receipt: DeferredReceipt) -> io::Result<()> {
        self.make_room()?;
        let started_ms = now_ms();
        let text = serde_json::to_vec(&OwedReceipt {
            receipt,
            started_ms,
        })?;
        self.remove(id)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.path(id))?.write_all(&text)
    }

    /// Returns the receipt of a call, and how long ago the call was permitted. Returns `None` if no
    /// receipt is owed.
    pub(super) fn find(&self, id: &CallId) -> io::Result<Option<(DeferredReceipt, Duration)>> {
        let file = match fs::File::open(self.path(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = read_at_most(file, MAX_BYTES)?.unwrap_or_default();
        let owed: OwedReceipt = serde_json::from_slice(&text)?;
        let duration = Duration::from_millis(now_ms().saturating_sub(owed.started_ms));
        Ok(Some((owed.receipt, duration)))
    }

    /// Forgets the receipt of a call.
    pub(super) fn remove(&self, id: &CallId) -> io::Result<()> {
        remove_file(&self.path(id))
    }

    /// Removes expired files, and the oldest files if there is no room for another one.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another hook may have removed it.
            if let Ok(metadata) = entry.metadata() {
                files.push((metadata.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = (files.len() + 1).saturating_sub(MAX_OWED);
        let now = SystemTime::now();
        for (place, (modified, path)) in files.iter().enumerate() {
            let age = now.duration_since(*modified).unwrap_or_default();
            if place < surplus || age > MAX_AGE {
                remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, id: &CallId) -> PathBuf {
        self.folder.join(id.key())
    }
}

/// Removes a file, if there is one.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use atlasent_mcp::hook::HookEnd;

    use super::*;

    fn id(call: &str) -> CallId {
        let input = format!(
            r#"{{"hook_event_name":"PostToolUse","session_id":"s","tool_use_id":"{call}"}}"#
        );
        HookEnd::parse(&input).unwrap().id().clone()
    }

    fn receipt(permit: &str) -> DeferredReceipt {
        let text = format!(r#"{{"permit_id":"{permit}","permit_token":"permit_0123456789"}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_receipt_is_found_by_its_call_until_it_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let owed = OwedReceipts::open(data.path()).unwrap();
        assert!(owed.find(&id("a")).unwrap().is_none());
        owed.keep(&id("a"), receipt("pt_1")).unwrap();
        owed.keep(&id("b"), receipt("pt_2")).unwrap();
        // The same call once more.
        owed.keep(&id("a"), receipt("pt_3")).unwrap();
        assert_eq!(owed.find(&id("a")).unwrap().unwrap().0, receipt("pt_3"));
        owed.remove(&id("a")).unwrap();
        assert!(owed.find(&id("a")).unwrap().is_none());
        assert_eq!(owed.find(&id("b")).unwrap().unwrap().0, receipt("pt_2"));
    }

    #[test]
    fn calls_that_never_end_leave_a_bounded_number_of_files_for_a_day() {
        let data = tempfile::tempdir().unwrap();
        let owed = OwedReceipts::open(data.path()).unwrap();
        let write = |name: &str, age: Duration| {
            let file = fs::File::create(owed.folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let count = || fs::read_dir(&owed.folder).unwrap().count();
        write("old", MAX_AGE + Duration::from_secs(60));
        write("new", Duration::from_secs(60));
        owed.keep(&id("a"), receipt("pt_1")).unwrap();
        assert_eq!(count(), 2);
        for number in 0..MAX_OWED {
            write(&number.to_string(), Duration::from_secs(120));
        }
        owed.keep(&id("b"), receipt("pt_2")).unwrap();
        assert_eq!(count(), MAX_OWED);
        // The newest ones are still there.
        assert!(owed.find(&id("a")).unwrap().is_some());
        assert!(owed.folder.join("new").exists());
    }
}
