//! How long it takes to open the file after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::WriteTransaction;

/// Whether transactions keep what an open after a crash would otherwise find by reading the whole
/// file.
#[derive(Clone, Debug, Default)]
pub(super) struct FastRecovery(Arc<AtomicBool>);

impl FastRecovery {
    pub(super) fn enable(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sets up a transaction. The last one before a crash decides how the file is opened, so this
    /// is called for each.
    pub(super) fn apply_to(&self, transaction: &mut WriteTransaction) {
        transaction.set_quick_repair(self.0.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;

    use super::*;
    use crate::RedbStore;
    use crate::store::{NewEvent, OrgId, Organizations, Store};

    fn record(store: &RedbStore) {
        futures_executor::block_on(
            store.commit(Timestamp::UNIX_EPOCH, Vec::new(), |changeset| {
                changeset.record(NewEvent::new("policy.loaded")).sequence
            }),
        )
        .unwrap();
    }

    /// Whether the file, as a crash would leave it now, is read as a whole when it is opened.
    fn is_repaired(path: &Path) -> bool {
        let copy = path.with_extension("copy");
        std::fs::copy(path, &copy).unwrap();
        let repaired = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&repaired);
        let mut builder = redb::Database::builder();
        builder.set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
        drop(builder.open(copy).unwrap());
        repaired.load(Ordering::Relaxed)
    }

    #[test]
    fn with_fast_recovery_no_open_after_a_crash_reads_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let store = RedbStore::open(&path).unwrap();
        record(&store);
        assert!(is_repaired(&path));
        let store = store.with_fast_recovery();
        record(&store);
        assert!(!is_repaired(&path));
        let acme: OrgId = "acme".parse().unwrap();
        assert!(futures_executor::block_on(store.create_organization(&acme)).unwrap());
        assert!(!is_repaired(&path));
        record(&store.organization(&acme));
        assert!(!is_repaired(&path));
    }
}
