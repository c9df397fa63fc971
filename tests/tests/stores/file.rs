//! Unusable files are refused with a text that says why. With a full disk, the store
//! refuses changes, and it recovers when there is room.

use std::path::Path;
use std::process::Command;

use atlasent_authority::RedbStore;
use atlasent_authority::store::{
    ApprovalList, Changeset, NewEvent, PermitState, Store, StoreError,
};

use crate::support::{
    agrees_with_every_filter, at, cell, entry, escalation, intact, issue, key, open_decisions,
    passes_in_child, record, state,
};

fn refused(path: &Path) -> String {
    let text = RedbStore::open(path).unwrap_err().to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    text
}

#[tokio::test]
async fn a_file_that_is_in_use_is_refused_until_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let text = refused(&path);
    assert!(text.contains("another process has it open"), "{text}");
    // The store that has the file open still works.
    record(&store, "policy.loaded", None, at(0)).await;
    assert_eq!(intact(&store).await, 1);
}

#[tokio::test]
async fn a_file_that_is_moved_away_or_replaced_stops_changes_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (
        folder.path().join("store.redb"),
        folder.path().join("aside.redb"),
    );
    let store = RedbStore::open(&path).unwrap();
    issue(&store, "a", at(0)).await.unwrap();

    std::fs::rename(&path, &aside).unwrap();
    let text = issue(&store, "b", at(0)).await.unwrap_err().to_string();
    assert!(
        text.contains("moved away or deleted") && text.contains("store.redb"),
        "{text}"
    );
    assert!(store.status().await.is_err());
    assert!(!path.exists(), "no new chain was begun");

    drop(RedbStore::open(&path).unwrap());
    let text = issue(&store, "b", at(0)).await.unwrap_err().to_string();
    assert!(text.contains("another file was put in its place"), "{text}");

    std::fs::rename(&aside, &path).unwrap();
    issue(&store, "c", at(0)).await.unwrap();
    assert_eq!(intact(&store).await, 2);
}

#[test]
fn a_store_that_has_to_exist_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let text = RedbStore::open_existing(&path).unwrap_err().to_string();
    assert!(text.contains("No such file"), "{text}");
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let text = RedbStore::open_existing(&path).unwrap_err().to_string();
    assert!(text.contains("it holds no chain"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    drop(RedbStore::open(&path).unwrap());
    RedbStore::open_existing(&path).unwrap();
}

#[test]
fn a_file_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = refused(&folder.path().join("no such folder").join("store.redb"));
    assert!(text.contains("No such file"), "{text}");
    refused(folder.path());
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for garbage in [
        &b"PNG"[..],
        &[0; 10_000],
        &[0xff; 10_000],
        "text ".repeat(5_000).as_bytes(),
    ] {
        std::fs::write(&path, garbage).unwrap();
        refused(&path);
        assert_eq!(std::fs::read(&path).unwrap(), garbage);
    }
}

#[test]
fn a_store_that_was_cut_off_is_refused_or_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = RedbStore::open(&path).unwrap();
        for number in 0..50 {
            issue(&store, &number.to_string(), at(0)).await.unwrap();
        }
    });
    let whole = std::fs::read(&path).unwrap();
    for keep in [
        100,
        4_096,
        whole.len() / 2,
        whole.len() - 4_096,
        whole.len() - 1,
    ] {
        let cut = folder.path().join(format!("{keep}.redb"));
        std::fs::write(&cut, &whole[..keep]).unwrap();
        // A panic of the library would also end the writer.
        if let Ok(store) = RedbStore::open(&cut) {
            let status = runtime.block_on(store.status());
            assert!(
                status.is_err() || status.unwrap().head.sequence == 50,
                "{keep}"
            );
        }
    }
}

#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    drop(RedbStore::open(&path).unwrap());
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    // Root can write to it in spite of its mode.
    if std::fs::File::options().write(true).open(&path).is_err() {
        let text = refused(&path);
        assert!(text.contains("let this process write to it"), "{text}");
    }
}

/// A file of the release before the index: 700 events, of which the first 50 were dropped,
/// and 7 permits.
#[tokio::test]
async fn a_file_without_an_index_gets_one_and_answers_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let old = &include_bytes!("old/format-1.redb.gz")[..];
    let mut file = std::fs::File::create(&path).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(old), &mut file).unwrap();
    // Checks at once, while the index is at most partly built, and again with the whole index, in a
    // store that was opened again.
    for round in 0..2 {
        let store = RedbStore::open(&path).unwrap();
        for _ in 0..3 {
            assert_eq!(intact(&store).await, 650 + round);
            agrees_with_every_filter(&store).await;
        }
        assert_eq!(state(&store, "permit 600").await, Some(PermitState::Issued));
        record(&store, "stop.set", Some("bot 1"), at(300)).await;
        agrees_with_every_filter(&store).await;
    }
    let store = RedbStore::open(&path).unwrap();
    open_decisions(&store, vec![escalation(1)], at(301))
        .await
        .unwrap();
    let open = store.approvals(ApprovalList::Open, u64::MAX, 9);
    assert_eq!(open.await.unwrap().len(), 1);
    drop(store);
    // Events that were dropped may still be stored: the store was open for a moment only.
    let report = RedbStore::check(&path).unwrap();
    let of_decisions = report
        .problems
        .iter()
        .find(|text| text.contains("decision"));
    assert_eq!(of_decisions, None);
}

/// A disk that limits the bytes that a process can write to a file.
const DISK: &str = "8388608";
const IN_CHILD: &str = "ATLASENT_TEST_FULL_DISK";

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_answers_nothing_and_the_store_goes_on_when_there_is_room() {
    if let Some(folder) = std::env::var_os(IN_CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(fill(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    // A process that ignores the signal (`SIGXFSZ`) gets an error from the call.
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--fsize={DISK}:unlimited"))
        .args(["sh", "-c", "trap '' 25; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .env(IN_CHILD, folder.path());
    let test = "file::a_full_disk_answers_nothing_and_the_store_goes_on_when_there_is_room";
    passes_in_child(&mut command, test);
}

async fn fill(folder: &Path) {
    let path = folder.join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let mut kept = Vec::new();
    let error = loop {
        let name = kept.len().to_string();
        match issue_big(&store, &name).await {
            Ok(()) => kept.push(name),
            Err(error) => break error.to_string(),
        }
        assert!(kept.len() < 1_000, "the disk has no end");
    };
    assert!(error.contains("store.redb"), "{error}");
    assert!(error.contains("no room"), "{error}");
    for _ in 0..3 {
        assert!(issue_big(&store, "no room").await.is_err());
    }

    let me = std::process::id().to_string();
    let more = ["--pid", &me, "--fsize=unlimited:unlimited"];
    assert!(
        Command::new("prlimit")
            .args(more)
            .status()
            .unwrap()
            .success()
    );
    issue_big(&store, "room").await.unwrap();
    for name in kept.iter().map(String::as_str).chain(["room"]) {
        assert_eq!(
            state(&store, name).await,
            Some(PermitState::Issued),
            "{name}"
        );
    }
    assert_eq!(state(&store, "no room").await, None);
    assert_eq!(intact(&store).await, kept.len() as u64 + 1);
}

/// Stores a permit and an event of 100 KB.
async fn issue_big(store: &RedbStore, name: &str) -> Result<(), StoreError> {
    let key = key(name);
    let change = move |changeset: &mut Changeset<'_>| {
        changeset.keep_permit(key, entry(changeset));
        changeset.record(NewEvent::new("evaluate.allow").with("context", "x".repeat(100_000)));
    };
    store.commit(at(0), cell(name), change).await
}
