//! Tests of the store in one file.

use std::pin::{Pin, pin};
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::store::{EscalationId, NewEvent};

async fn record(store: &RedbStore) -> Result<u64, StoreError> {
    let change =
        |changeset: &mut Changeset<'_>| changeset.record(NewEvent::new("policy.loaded")).sequence;
    store
        .commit(Timestamp::UNIX_EPOCH, Vec::new(), change)
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

/// Writes to a closed store's file as somebody might who knows its format.
fn tamper(path: &Path, change: impl FnOnce(&redb::WriteTransaction, &Tables)) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction, &Tables::new(&OrgId::local()));
    transaction.commit().unwrap();
}

#[test]
fn a_check_names_what_was_cut_out_changed_or_left_behind() {
    type Change = fn(&redb::WriteTransaction, &Tables);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let whole = folder.path().join("whole.redb");
    let store = RedbStore::open(&whole).unwrap();
    for _ in 0..5 {
        futures_executor::block_on(record(&store)).unwrap();
    }
    drop(store);
    assert!(RedbStore::check(&whole).unwrap().is_good());
    let changes: [(Change, &str); 9] = [
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
    for (change, expected) in changes {
        std::fs::copy(&whole, &path).unwrap();
        tamper(&path, change);
        let report = RedbStore::check(&path).unwrap();
        assert!(!report.is_good());
        let said = report.problems.join("; ");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// Queues a change, whose future waits for its transaction from now on.
fn queue<T>(commit: Pin<&mut impl Future<Output = T>>) {
    let polled = commit.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_refuses_no_change_of_another_organization() {
    let key = CellKey::OpenApprovals;
    // The change reads the entry, or the entry is over and deleted with it.
    for is_over in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let [acme, globex] = ["acme", "globex"].map(|id| id.parse::<OrgId>().unwrap());
        let store = RedbStore::open(&path).unwrap();
        for org in [&acme, &globex] {
            assert!(store.create_organization(org).await.unwrap());
        }
        drop(store);
        let of_acme = Tables::new(&acme);
        tamper(&path, |to, _| {
            let mut cells = to.open_table(of_acme.cells()).unwrap();
            cells.insert(&key.to_bytes(), &b"nonsense"[..]).unwrap();
            if is_over {
                let mut expiry = to.open_table(of_acme.expiry()).unwrap();
                expiry.insert((i64::MIN, &key.to_bytes()), ()).unwrap();
            }
        });
        let store = RedbStore::open(&path).unwrap();
        let (acme, globex) = (store.organization(&acme), store.organization(&globex));
        for round in 1..3 {
            // A change of `local` holds the writer up, so that those behind it share a transaction.
            let (begun, begins) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            let released = Arc::new(Mutex::new(released));
            let hold = move |_: &mut Changeset<'_>| {
                begun.send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            };
            let now = Timestamp::UNIX_EPOCH;
            let append = |changeset: &mut Changeset<'_>| {
                changeset.record(NewEvent::new("policy.loaded")).sequence
            };
            let reads = if is_over { Vec::new() } else { vec![key] };
            let mut holding = pin!(store.commit(now, Vec::new(), hold));
            let mut of_acme = pin!(acme.commit(now, reads, append));
            let mut of_globex = pin!(globex.commit(now, Vec::new(), append));
            queue(holding.as_mut());
            begins.recv().unwrap();
            queue(of_acme.as_mut());
            queue(of_globex.as_mut());
            release.send(()).unwrap();
            holding.await.unwrap();
            let text = of_acme.await.unwrap_err().to_string();
            assert!(text.contains("an entry cannot be read"), "{text}");
            assert_eq!(of_globex.await.unwrap(), round);
        }
        let status = acme.status().await.unwrap();
        assert_eq!(status.head.sequence, 0, "nothing of it was kept");
        let all = globex.events(0, 9, &EventFilter::default()).await.unwrap();
        assert_eq!(all.len(), 2);
    }
}

#[tokio::test]
async fn many_reads_of_one_organization_refuse_none_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("store")).unwrap();
    let [acme, globex] = ["acme", "globex"].map(|id| id.parse::<OrgId>().unwrap());
    for org in [&acme, &globex] {
        assert!(store.create_organization(org).await.unwrap());
    }
    let (acme, globex) = (store.organization(&acme), store.organization(&globex));
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hold = move |_: &Database| -> Result<(), redb::Error> {
        begun.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    };
    let local = OrgId::local();
    let mut holding = pin!(store.file.status.turn(&local, hold));
    queue(holding.as_mut());
    begins.recv().unwrap();
    let mut flood: Vec<_> = (0..1_000).map(|_| Box::pin(acme.status())).collect();
    let mut refused = 0;
    for read in &mut flood {
        let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(result) = polled {
            assert!(matches!(result, Err(StoreError::Busy)), "{result:?}");
            refused += 1;
        }
    }
    assert!((740..750).contains(&refused), "{refused}");
    let mut of_globex = pin!(globex.status());
    queue(of_globex.as_mut());
    release.send(()).unwrap();
    holding.await.unwrap();
    assert_eq!(of_globex.await.unwrap().head.sequence, 0);
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
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let read = move |_: &Database| -> Result<(), redb::Error> {
        begun.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    };
    let local = OrgId::local();
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
fn backups_and_checks_cover_every_organization() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let acme: OrgId = "acme".parse().unwrap();
    futures_executor::block_on(async {
        let store = RedbStore::open(&path).unwrap();
        assert!(store.create_organization(&acme).await.unwrap());
        let acme = store.organization(&acme);
        assert_eq!(record(&acme).await.unwrap(), 1);
        assert!(acme.backup().await.is_err(), "a copy of the others, too");
        let mut backup = store.backup().await.unwrap();
        std::io::copy(&mut backup, &mut std::fs::File::create(&copy).unwrap()).unwrap();
    });
    let report = RedbStore::check(&copy).unwrap();
    assert!(report.is_good() && report.others[&acme].head.sequence == 1);
    let database = Database::create(&copy).unwrap();
    let transaction = database.begin_write().unwrap();
    let tables = Tables::new(&acme);
    drop(transaction.open_table(tables.events()).unwrap().remove(1));
    transaction.commit().unwrap();
    drop(database);
    let report = RedbStore::check(&copy).unwrap();
    assert!(!report.is_good() && report.found == 0);
    let problems = report.others[&acme].problems.join("; ");
    assert!(problems.contains("event 1 is missing"), "{problems}");
}

#[test]
fn a_file_with_organizations_is_refused_by_releases_that_know_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = RedbStore::open(&path).unwrap();
    let acme: OrgId = "acme".parse().unwrap();
    futures_executor::block_on(store.create_organization(&acme)).unwrap();
    drop(store);
    let database = Database::create(&path).unwrap();
    let meta = database.begin_read().unwrap();
    let meta = meta
        .open_table(Tables::new(&OrgId::local()).meta())
        .unwrap();
    // Those releases accept the formats 1 and 2.
    assert_eq!(meta.get("format").unwrap().unwrap().value(), "3");
}

#[test]
fn a_store_that_is_dropped_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        // Another process would have to wait for it no longer, either.
        RedbStore::open(folder.path().join("store.redb")).unwrap();
    }
}
