//! Backups: a copy of the whole store at one moment.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value,
    WriteTransaction,
};

use super::tables::{CELLS, EVENTS, EXPIRY, META};

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
    copy_table(&from, &to, META)?;
    copy_table(&from, &to, CELLS)?;
    copy_table(&from, &to, EXPIRY)?;
    copy_table(&from, &to, EVENTS)?;
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
