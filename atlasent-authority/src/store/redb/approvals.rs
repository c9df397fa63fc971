//! The lists of pending decisions, and reading them.
//!
//! One table holds both lists. Its key is the list and the sequence number of the event that opened
//! the decision; its value is the key of the decision's cell:
//!
//! ```text
//! (list, sequence)    cell
//! (0,    12)          h 3f…    open since event 12
//! (0,    40)          h 91…
//! (1,    7)           h c2…    closed
//! ```
//!
//! Closing the decision of event 12 removes the first row and adds `(1, 12)`. The newest open
//! decisions are read from the end of the range of list 0, however many are closed.

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableError, WriteTransaction,
};

use super::tables::{Tables, parse};
use crate::ledger::{ApprovalEntry, ApprovalKey};
use crate::store::approvals::PAGE_BYTES;
use crate::store::{ApprovalList, Cell, CellKey};

/// Returns the key of a decision in the lists.
pub(super) fn place(entry: &ApprovalEntry) -> (u8, u64) {
    (number(ApprovalList::from_entry(entry)), entry.sequence)
}

fn number(list: ApprovalList) -> u8 {
    match list {
        ApprovalList::Open => 0,
        ApprovalList::Closed => 1,
    }
}

/// Puts a decision into its list, and takes it out of the one that it was in before.
pub(super) fn file(
    transaction: &WriteTransaction,
    tables: &Tables,
    (before, after): (Option<&ApprovalEntry>, Option<&ApprovalEntry>),
    key: &[u8; 33],
) -> Result<(), redb::Error> {
    let [before, after] = [before, after].map(|entry| entry.map(place));
    if before == after {
        return Ok(());
    }
    let mut lists = transaction.open_table(tables.approvals())?;
    if let Some(before) = before {
        lists.remove(before)?;
    }
    if let Some(after) = after {
        lists.insert(after, key)?;
    }
    Ok(())
}

/// The lists, open for reading.
pub(super) type Lists = ReadOnlyTable<(u8, u64), &'static [u8; 33]>;

/// Opens the lists. `None` in a file whose organization has had no decision yet.
pub(super) fn lists(
    transaction: &ReadTransaction,
    tables: &Tables,
) -> Result<Option<Lists>, redb::Error> {
    match transaction.open_table(tables.approvals()) {
        Ok(lists) => Ok(Some(lists)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns at most `limit` decisions of a list that were opened before an event, the newest first,
/// up to the one by which they reach [`PAGE_BYTES`].
pub(super) fn before(
    database: &Database,
    tables: &Tables,
    list: ApprovalList,
    before: u64,
    limit: usize,
) -> Result<Vec<ApprovalEntry>, redb::Error> {
    let transaction = database.begin_read()?;
    let Some(lists) = lists(&transaction, tables)? else {
        return Ok(Vec::new());
    };
    let cells = transaction.open_table(tables.cells())?;
    let list = number(list);
    let (mut found, mut bytes) = (Vec::new(), 0);
    for entry in lists.range((list, 0)..(list, before))?.rev().take(limit) {
        let (_, key) = entry?;
        let Some(cell) = cells.get(key.value())? else {
            continue;
        };
        bytes += cell.value().len();
        if let Cell::Approval(entry) = parse(cell.value())? {
            found.push(*entry);
        }
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(found)
}

/// Returns a decision.
pub(super) fn one(
    database: &Database,
    tables: &Tables,
    key: ApprovalKey,
) -> Result<Option<ApprovalEntry>, redb::Error> {
    let cells = database.begin_read()?.open_table(tables.cells())?;
    let Some(cell) = cells.get(&CellKey::Approval(key).to_bytes())? else {
        return Ok(None);
    };
    match parse(cell.value())? {
        Cell::Approval(entry) => Ok(Some(*entry)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use jiff::Timestamp;

    use super::*;
    use crate::store::approvals::example;
    use crate::store::redb::tests::{Damage, assert_found, format, tamper};
    use crate::store::redb::write;
    use crate::store::{Changeset, NewEvent, OrgId, Organizations, RedbStore, Store, StoreError};

    /// Opens decisions, and closes the first one.
    fn fill(store: &RedbStore) -> Vec<ApprovalEntry> {
        let entries: Vec<_> = (1..4).map(example).collect();
        for entry in &entries {
            keep(store, entry.clone()).unwrap();
        }
        let mut closed = example(1);
        closed.id = entries[0].id;
        closed.state = crate::ledger::ApprovalState::Rejected;
        keep(store, closed).unwrap();
        entries
    }

    fn keep(store: &RedbStore, entry: ApprovalEntry) -> Result<bool, StoreError> {
        let reads = entry.id.cells().to_vec();
        let change = move |changeset: &mut Changeset<'_>| {
            changeset.record(NewEvent::new("approval.requested"));
            changeset.keep_approval(entry)
        };
        block_on(store.commit(Timestamp::UNIX_EPOCH, reads, change))
    }

    fn sequences(store: &RedbStore) -> [Vec<u64>; 2] {
        [ApprovalList::Open, ApprovalList::Closed].map(|list| {
            let found = block_on(store.approvals(list, u64::MAX, 9)).unwrap();
            found.iter().map(|entry| entry.sequence).collect()
        })
    }

    #[test]
    fn a_file_with_decisions_is_refused_by_releases_that_know_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let acme: OrgId = "acme".parse().unwrap();
        let store = RedbStore::open(&path).unwrap();
        block_on(store.create_organization(&acme)).unwrap();
        drop(store);
        // Those releases accept the formats 1 to 3.
        assert_eq!(format(&path), "3");
        let store = RedbStore::open(&path).unwrap().organization(&acme);
        keep(&store, example(1)).unwrap();
        drop(store);
        assert_eq!(format(&path), "4");
        let store = RedbStore::open(&path).unwrap();
        block_on(store.create_organization(&"other".parse().unwrap())).unwrap();
        drop(store);
        assert_eq!(format(&path), "4", "it is not lowered");
        assert!(RedbStore::check(&path).unwrap().is_good());
    }

    #[test]
    fn a_file_from_before_decisions_opens_and_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(RedbStore::open(&path).unwrap());
        let is_there = tamper(&path, |to, of| to.delete_table(of.approvals()).unwrap());
        assert!(!is_there, "the first decision creates the table");
        assert_eq!(format(&path), "2");
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(sequences(&store), [Vec::<u64>::new(), Vec::new()]);
        fill(&store);
        assert_eq!(sequences(&store), [vec![3, 2], vec![1]]);
    }

    #[test]
    fn a_restored_backup_has_the_decisions_in_their_lists() {
        let folder = tempfile::tempdir().unwrap();
        let (path, restored) = (folder.path().join("store"), folder.path().join("restored"));
        let store = RedbStore::open(&path).unwrap();
        let entries = fill(&store);
        let mut copy = block_on(store.backup()).unwrap();
        std::io::copy(&mut copy, &mut std::fs::File::create(&restored).unwrap()).unwrap();
        assert!(RedbStore::check(&restored).unwrap().is_good());
        let restored = RedbStore::open_existing(&restored).unwrap();
        assert_eq!(sequences(&restored), [vec![3, 2], vec![1]]);
        let found = block_on(restored.approval(entries[2].id.key())).unwrap();
        assert_eq!(found.as_ref(), Some(&entries[2]));
    }

    #[test]
    fn a_decision_whose_writing_panics_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path().join("store")).unwrap();
        let entries = fill(&store);
        let mut closed = entries[2].clone();
        closed.state = crate::ledger::ApprovalState::Approved;
        let reads = closed.id.cells().to_vec();
        let change = move |changeset: &mut Changeset<'_>| {
            write::faults::arm();
            changeset.keep_approval(closed)
        };
        assert!(block_on(store.commit(Timestamp::UNIX_EPOCH, reads, change)).is_err());
        assert_eq!(sequences(&store), [vec![3, 2], vec![1]]);
    }

    #[test]
    fn a_check_names_decisions_that_are_not_in_their_list_or_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        fill(&RedbStore::open(&whole).unwrap());
        let changes: [Damage<'_>; 4] = [
            (
                |to, of| {
                    let mut lists = to.open_table(of.approvals()).unwrap();
                    lists.remove((0, 2)).unwrap();
                },
                "the lists of pending decisions lack",
            ),
            (
                |to, of| {
                    let mut lists = to.open_table(of.approvals()).unwrap();
                    lists.insert((1, 9), &[b'h'; 33]).unwrap();
                },
                "have 4 entries, and 3 of them are right",
            ),
            (
                |to, of| assert!(to.delete_table(of.approvals()).unwrap()),
                "the lists of pending decisions lack",
            ),
            (
                |to, of| {
                    let mut cells = to.open_table(of.cells()).unwrap();
                    let count = &br#"{"open_approvals":7}"#[..];
                    let key = CellKey::OpenApprovals.to_bytes();
                    cells.insert(&key, count).unwrap();
                },
                "2 decisions are open, and the count of them is 7",
            ),
        ];
        assert_found(&whole, &changes);
    }
}
