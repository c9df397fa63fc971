//! Backups: a copy of the whole store at one moment.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value,
    WriteTransaction,
};

use super::approvals;
use super::recent::{self, RECENT};
use super::tables::{ORGANIZATIONS, Tables, organizations};

/// How much of the copy is in memory at most, in bytes.
const CACHE: usize = 16 * 1024 * 1024;

/// Copies the store into a new file without a name, in a folder.
///
/// One read transaction sees one moment, whatever is written meanwhile. The uncommitted part of the
/// copy is written to the file as soon as it exceeds the cache.
pub(super) fn copy(database: &Database, folder: &Path) -> Result<File, redb::Error> {
    let mut file = tempfile::tempfile_in(folder)?;
    let backend = FileBackend::new(file.try_clone()?)?;
    let mut builder = Database::builder();
    let copy = builder.set_cache_size(CACHE).create_with_backend(backend)?;
    let (from, to) = (database.begin_read()?, copy.begin_write()?);
    for org in organizations(&from)? {
        let tables = Tables::new(&org);
        copy_table(&from, &to, tables.meta())?;
        copy_table(&from, &to, tables.cells())?;
        copy_table(&from, &to, tables.expiry())?;
        copy_table(&from, &to, tables.permits())?;
        if approvals::lists(&from, &tables)?.is_some() {
            copy_table(&from, &to, tables.approvals())?;
        }
        copy_table(&from, &to, tables.events())?;
        copy_table(&from, &to, tables.index())?;
        if !org.is_local() {
            to.open_table(ORGANIZATIONS)?.insert(org.as_str(), ())?;
        }
    }
    if recent::table(&from)?.is_some() {
        copy_table(&from, &to, RECENT)?;
    }
    to.commit()?;
    copy.close()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), redb::Error> {
    let from = from.open_table(table)?;
    let mut to = to.open_table(table)?;
    for entry in from.iter()? {
        let (key, value) = entry?;
        to.insert(key.value(), value.value())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use atlasent::wire::EvaluateRequest;
    use atlasent::{Agent, AnyAction, Authority};
    use futures_executor::block_on;
    use redb::{Database, ReadableDatabase, TableHandle};

    use super::Tables;
    use crate::store::{OrgId, RedbStore, Store};
    use crate::trail::EventFilter;
    use crate::{LocalAuthority, Policies};

    /// Returns what a store finds by its indexes: events by type and by agent, and permits.
    fn found(path: &Path) -> (Vec<u64>, u64, usize) {
        let store = RedbStore::open_existing(path).unwrap();
        let of_type = EventFilter::default().types(["evaluate.allow"]);
        let of_agent = EventFilter::default().actor_id("bot");
        let events = block_on(store.events(0, usize::MAX, &of_type)).unwrap();
        (
            events.iter().map(|event| event.sequence).collect(),
            block_on(store.count_events(&of_agent)).unwrap(),
            block_on(store.permits(u64::MAX, usize::MAX)).unwrap().len(),
        )
    }

    fn tables(path: &Path) -> Vec<String> {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_read().unwrap();
        let tables = transaction.list_tables().unwrap();
        tables.map(|table| table.name().to_owned()).collect()
    }

    fn backup(from: &Path, to: &Path) {
        let store = RedbStore::open_existing(from).unwrap();
        let mut copy = block_on(store.backup()).unwrap();
        std::io::copy(&mut copy, &mut std::fs::File::create(to).unwrap()).unwrap();
    }

    async fn evaluate(path: &Path) {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let store = RedbStore::open(path).unwrap();
        let authority = LocalAuthority::builder(policies).store(store);
        let authority = authority.build().await.unwrap();
        let deploy = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &deploy).unwrap();
        authority.evaluate(&request).await.unwrap();
    }

    /// Removes what the backups of the first releases lacked.
    fn without_indexes(path: &Path) {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        let tables = Tables::new(&OrgId::local());
        assert!(transaction.delete_table(tables.index()).unwrap());
        assert!(transaction.delete_table(tables.permits()).unwrap());
        transaction.commit().unwrap();
    }

    #[test]
    fn a_file_without_its_indexes_gets_them_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        block_on(evaluate(&path));
        block_on(evaluate(&path));
        let before = found(&path);
        without_indexes(&path);
        let report = RedbStore::check(&path).unwrap();
        assert!(
            report.problems[0].contains("open the store once"),
            "{report:?}"
        );
        assert_eq!(found(&path), before);
        without_indexes(&path);
        block_on(evaluate(&path));
        let after = found(&path);
        assert_eq!((after.0.len(), after.1, after.2), (3, 3, 3));
        assert!(RedbStore::check(&path).unwrap().is_good());
    }

    #[test]
    fn a_restored_backup_finds_the_events_and_permits_that_the_store_finds() {
        let folder = tempfile::tempdir().unwrap();
        let (path, restored) = (folder.path().join("store"), folder.path().join("restored"));
        block_on(evaluate(&path));
        block_on(evaluate(&path));
        let before = found(&path);
        assert_eq!((before.0.len(), before.1, before.2), (2, 2, 2));
        backup(&path, &restored);
        assert_eq!(tables(&restored), tables(&path));
        assert_eq!(found(&restored), before);
        assert!(RedbStore::check(&restored).unwrap().is_good());
        block_on(evaluate(&restored));
        let after = found(&restored);
        assert_eq!((after.0.len(), after.1, after.2), (3, 3, 3));
    }
}
