//! Tests of the store in one file.

mod organizations;

use std::pin::{Pin, pin};
use std::sync::{Mutex, mpsc};
use std::task::{Context, Waker};

use redb::ReadableTable;

use super::recent::RECENT;
use super::*;
use crate::store::{EscalationId, NewEvent};

async fn record(store: &RedbStore) -> Result<u64, StoreError> {
    store
        .commit(Timestamp::UNIX_EPOCH, Vec::new(), append(1))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_panics_answers_with_an_error_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(RedbStore::open(folder.path().join("store.redb")).unwrap());
    assert_eq!(record(&store).await.unwrap(), 1);
    for round in 0..3 {
        // The change runs on the writer's thread.
        let arm = |changeset: &mut Changeset<'_>| {
            write::faults::arm();
            drop(changeset.record(NewEvent::new("policy.loaded")));
        };
        let hit = store.commit(Timestamp::UNIX_EPOCH, Vec::new(), arm).await;
        let text = hit.unwrap_err().to_string();
        assert!(text.contains("writing the store panicked"), "{text}");
        assert_eq!(
            record(&store).await.unwrap(),
            round + 2,
            "nothing of it was kept"
        );
    }
    assert_eq!(store.status().await.unwrap().head.sequence, 4);
    drop(store);
    let again = RedbStore::open_existing(folder.path().join("store.redb")).unwrap();
    assert_eq!(record(&again).await.unwrap(), 5);
}

#[tokio::test]
async fn a_reader_that_panics_answers_with_an_error_and_harms_nobody_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("store.redb")).unwrap();
    let fault =
        |_: &Database| -> Result<(), redb::Error> { panic!("a fault that a test injected") };
    let text = store
        .file
        .readers
        .turn(&OrgId::local(), fault)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("reading the store panicked"), "{text}");
    assert_eq!(record(&store).await.unwrap(), 1);
    assert_eq!(store.status().await.unwrap().head.sequence, 1);
}

/// Makes a large change, with which the recent ones move into the tables. Returns the number of its
/// last event.
async fn record_five(store: &RedbStore) -> Result<u64, StoreError> {
    store
        .commit(Timestamp::UNIX_EPOCH, Vec::new(), append(5))
        .await
}

/// Returns a change that records events. It returns the number of the last one.
fn append(events: usize) -> impl FnOnce(&mut Changeset<'_>) -> u64 + Clone + Send {
    move |changeset| {
        for _ in 0..events {
            changeset.record(NewEvent::new("policy.loaded"));
        }
        changeset.head().sequence
    }
}

/// Writes to a closed store's file as somebody might who knows its format. The tables are those of
/// `local`.
pub(super) fn tamper<T>(
    path: &Path,
    change: impl FnOnce(&redb::WriteTransaction, &Tables) -> T,
) -> T {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let result = change(&transaction, &Tables::new(&OrgId::local()));
    transaction.commit().unwrap();
    result
}

/// Returns the format of a closed store's file.
pub(super) fn format(path: &Path) -> String {
    tamper(path, |to, of| {
        let meta = to.open_table(of.meta()).unwrap();
        meta.get("format").unwrap().unwrap().value().to_owned()
    })
}

/// A change of a file, and what a check of it then has to say.
pub(super) type Damage<'a> = (fn(&redb::WriteTransaction, &Tables), &'a str);

/// Asserts that a check of the file finds nothing, and after each change names what it broke.
pub(super) fn assert_found(whole: &Path, damages: &[Damage<'_>]) {
    assert!(RedbStore::check(whole).unwrap().is_good());
    let path = whole.with_extension("damaged");
    for (damage, expected) in damages {
        std::fs::copy(whole, &path).unwrap();
        tamper(&path, damage);
        let report = RedbStore::check(&path).unwrap();
        assert!(!report.is_good());
        let said = report.problems.join("; ");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// Returns a function that holds its thread up, a channel that says when it does, and one that
/// releases it.
fn hold() -> (
    impl FnOnce() + Clone + Send,
    mpsc::Receiver<()>,
    mpsc::Sender<()>,
) {
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let hold = move || {
        begun.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
    };
    (hold, begins, release)
}

#[test]
fn a_check_names_what_was_cut_out_changed_or_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.redb");
    let store = RedbStore::open(&whole).unwrap();
    futures_executor::block_on(record_five(&store)).unwrap();
    drop(store);
    let changes: [Damage<'_>; 9] = [
        (
            |to, of| drop(to.open_table(of.events()).unwrap().remove(5).unwrap()),
            "event 5 is missing",
        ),
        (
            |to, of| drop(to.open_table(of.events()).unwrap().remove(1).unwrap()),
            "event 1 is missing",
        ),
        (
            |to, of| {
                let mut events = to.open_table(of.events()).unwrap();
                events.retain_in(2..=3, |_, _| false).unwrap();
            },
            "events 2 to 3 are missing",
        ),
        (
            |to, of| {
                let mut meta = to.open_table(of.meta()).unwrap();
                meta.insert("dropped", "1").unwrap();
            },
            "event 1 is",
        ),
        (
            |to, of| {
                let mut cells = to.open_table(of.cells()).unwrap();
                cells.insert(&[b'p'; 33], &b"nonsense"[..]).unwrap();
            },
            "of the ledger cannot be read",
        ),
        (
            |to, of| {
                let mut expiry = to.open_table(of.expiry()).unwrap();
                expiry.insert((7, &[b'p'; 33]), ()).unwrap();
            },
            "the index of times names an entry that is missing",
        ),
        (
            |to, of| {
                let mut index = to.open_table(of.index()).unwrap();
                index.remove(("policy.loaded", "", 3)).unwrap();
            },
            "the index of events lacks event 3",
        ),
        (
            |to, of| {
                let mut index = to.open_table(of.index()).unwrap();
                index.insert(("evaluate.deny", "", 3), 1).unwrap();
            },
            "the index of events has 6 entries, and the events have 5",
        ),
        (
            |to, of| {
                let mut permits = to.open_table(of.permits()).unwrap();
                permits.insert(3, &[b'p'; 33]).unwrap();
            },
            "the list of permits names one of event 3 that is missing",
        ),
    ];
    assert_found(&whole, &changes);
}

#[test]
fn a_check_names_what_is_wrong_with_recent_changes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let store = RedbStore::open(&whole).unwrap();
    futures_executor::block_on(async {
        record_five(&store).await.unwrap();
        for _ in 0..3 {
            record(&store).await.unwrap();
        }
    });
    drop(store);
    assert_eq!(RedbStore::check(&whole).unwrap().head.sequence, 8);
    let changes: [Damage<'_>; 2] = [
        (
            |to, _| drop(to.open_table(RECENT).unwrap().remove(("local", 7)).unwrap()),
            "event 7 is missing",
        ),
        (
            |to, _| {
                let mut recent = to.open_table(RECENT).unwrap();
                let last = recent.get(("local", 8)).unwrap().unwrap();
                let head = last.value().0.to_owned();
                drop(last);
                let cells: Vec<(&[u8; 33], &[u8])> = vec![(&[b'p'; 33], b"nonsense")];
                let change = (&*head, Vec::new(), cells);
                recent.insert(("local", 9), change).unwrap();
            },
            "the recent entry 7070",
        ),
    ];
    assert_found(&whole, &changes);
}

/// Queues a change, whose future waits for its transaction from now on.
fn queue<T>(commit: Pin<&mut impl Future<Output = T>>) {
    let polled = commit.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_leaves_the_file_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let id: EscalationId = format!("esc_{:032x}", 1).parse().unwrap();
    drop(RedbStore::open(&path).unwrap());
    tamper(&path, |to, of| {
        let key = CellKey::Approval(id.key()).to_bytes();
        let mut cells = to.open_table(of.cells()).unwrap();
        cells.insert(&key, &b"nonsense"[..]).unwrap();
    });
    let store = RedbStore::open(&path).unwrap();
    // While a read is in progress, a file that was closed could not be opened again.
    let (hold, begins, release) = hold();
    let local = OrgId::local();
    let read = |_: &Database| {
        hold();
        Ok(())
    };
    let mut reading = pin!(store.file.readers.turn(&local, read));
    queue(reading.as_mut());
    begins.recv().unwrap();
    let text = store.approval(id.key()).await.unwrap_err().to_string();
    assert!(text.contains("an entry cannot be read"), "{text}");
    assert_eq!(record(&store).await.unwrap(), 1);
    release.send(()).unwrap();
    reading.await.unwrap();
}

#[test]
fn a_store_that_is_dropped_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        // Another process would have to wait for it no longer, either.
        RedbStore::open(folder.path().join("store.redb")).unwrap();
    }
}
