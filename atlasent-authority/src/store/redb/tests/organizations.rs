//! Tests of several organizations in one file.

use std::task::Poll;

use super::*;
use crate::store::redb::recent::Recent;

/// Creates a store with two organizations.
async fn two(path: &Path) -> (RedbStore, [OrgId; 2]) {
    let store = RedbStore::open(path).unwrap();
    let orgs = ["acme", "globex"].map(|id| id.parse::<OrgId>().unwrap());
    for org in &orgs {
        assert!(store.create_organization(org).await.unwrap());
    }
    (store, orgs)
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_refuses_no_change_of_another_organization() {
    let key = CellKey::OpenApprovals;
    // The change reads the entry, or the entry is over and deleted with it.
    for is_over in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (store, [acme, globex]) = two(&path).await;
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
            // The writer is held up, so that those behind share a transaction.
            let (hold, begins, release) = hold();
            let now = Timestamp::UNIX_EPOCH;
            let reads = if is_over { Vec::new() } else { vec![key] };
            let mut holding = pin!(store.commit(now, Vec::new(), |_| hold()));
            // With a large change, what is over is deleted.
            let mut of_acme = pin!(acme.commit(now, reads, append(5)));
            let mut of_globex = pin!(globex.commit(now, Vec::new(), append(1)));
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

/// Changes bytes of a closed store's file before a text in it.
fn damage_before(path: &Path, text: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let places = memchr::memmem::find_iter(&bytes, text).collect::<Vec<_>>();
    assert!(!places.is_empty());
    for place in places {
        bytes[place - 4..place].fill(0xff);
    }
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn recent_changes_that_cannot_be_read_refuse_no_change_of_another_organization() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (store, [acme, globex]) = two(&path).await;
    for org in [&acme, &globex] {
        // The first change of an organization goes into its tables.
        for sequence in 1..3 {
            let recorded = record(&store.organization(org)).await;
            assert_eq!(recorded.unwrap(), sequence);
        }
    }
    drop(store);
    // The head of the recent change.
    damage_before(&path, r#"{"org_id":"acme","sequence":2"#);
    let store = RedbStore::open(&path).unwrap();
    let (acme, globex) = (store.organization(&acme), store.organization(&globex));
    let (refused, kept) = tokio::join!(record(&acme), record(&globex));
    let text = refused.unwrap_err().to_string();
    let expected = "the recent changes of `acme` cannot be read";
    assert!(text.contains(expected), "{text}");
    assert_eq!(kept.unwrap(), 3);
    assert!(acme.status().await.is_err());
    assert_eq!(globex.status().await.unwrap().head.sequence, 3);
}

#[tokio::test]
async fn organizations_move_their_recent_changes_a_few_in_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = RedbStore::open(&path).unwrap();
    let mut all = Vec::new();
    for number in 0..10 {
        let id: OrgId = format!("org-{number}").parse().unwrap();
        assert!(store.create_organization(&id).await.unwrap());
        let org = store.organization(&id);
        // The first one goes into the tables.
        for _ in 0..33 {
            record(&org).await.unwrap();
        }
        all.push(org);
    }
    // How many organizations have no recent change.
    let moved = || {
        let local = OrgId::local();
        let moved = store.file.readers.turn(&local, |database| {
            let transaction = database.begin_read()?;
            let mut moved = 0;
            for number in 0..10 {
                let id = format!("org-{number}").parse().unwrap();
                moved += usize::from(Recent::read(&transaction, &id)?.first().is_none());
            }
            Ok(moved)
        });
        futures_executor::block_on(moved).unwrap()
    };
    assert_eq!(moved(), 0);
    for expected in [4, 4, 2] {
        // The writer is held up, so that those behind share a transaction.
        let (hold, begins, release) = hold();
        let now = Timestamp::UNIX_EPOCH;
        let mut holding = pin!(store.commit(now, Vec::new(), |_| hold()));
        queue(holding.as_mut());
        begins.recv().unwrap();
        let mut changes: Vec<_> = all.iter().map(|org| Box::pin(record(org))).collect();
        for change in &mut changes {
            queue(change.as_mut());
        }
        release.send(()).unwrap();
        holding.await.unwrap();
        for change in changes {
            change.await.unwrap();
        }
        assert_eq!(moved(), expected);
    }
}

#[tokio::test]
async fn many_reads_of_one_organization_refuse_none_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let (store, [acme, globex]) = two(&folder.path().join("store")).await;
    let (acme, globex) = (store.organization(&acme), store.organization(&globex));
    let (hold, begins, release) = hold();
    let local = OrgId::local();
    let read = |_: &Database| {
        hold();
        Ok(())
    };
    let mut holding = pin!(store.file.status.turn(&local, read));
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

#[test]
fn backups_and_checks_cover_every_organization() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let acme: OrgId = "acme".parse().unwrap();
    futures_executor::block_on(async {
        let store = RedbStore::open(&path).unwrap();
        assert!(store.create_organization(&acme).await.unwrap());
        let acme = store.organization(&acme);
        assert_eq!(record_five(&acme).await.unwrap(), 5);
        assert_eq!(record(&acme).await.unwrap(), 6);
        assert!(acme.backup().await.is_err(), "a copy of the others, too");
        let mut backup = store.backup().await.unwrap();
        std::io::copy(&mut backup, &mut std::fs::File::create(&copy).unwrap()).unwrap();
    });
    let report = RedbStore::check(&copy).unwrap();
    assert!(report.is_good() && report.others[&acme].head.sequence == 6);
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
fn a_file_is_refused_by_releases_that_do_not_know_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (store, [acme, _]) = futures_executor::block_on(two(&path));
    drop(store);
    // The first releases accept the formats 1 and 2.
    assert_eq!(format(&path), "3");
    let acme = RedbStore::open(&path).unwrap().organization(&acme);
    futures_executor::block_on(record(&acme)).unwrap();
    drop(acme);
    assert_eq!(format(&path), "3", "it has no recent change yet");
    let store = RedbStore::open(&path).unwrap();
    for _ in 0..2 {
        futures_executor::block_on(record(&store)).unwrap();
    }
    drop(store);
    // Later ones accept them up to 4.
    assert_eq!(format(&path), "5");
}
