//! Records that a server reads from a file and a database, and reads again when they change: API
//! keys and organizations.

use std::fmt::Debug;
#[cfg(feature = "postgres")]
use std::future::Future;

use tokio::sync::Mutex;

use super::off_thread::off_thread;
use crate::json_file::{FileRecord, FileVersion, JsonFile, JsonFileError};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::store::StoreError;

/// A record of the sources.
pub(super) trait SourceRecord: FileRecord + Clone + Send + 'static {
    /// The name of the thread that reads the file.
    const THREAD: &'static str;

    /// Returns the version of the database's records.
    #[cfg(feature = "postgres")]
    fn version_in(database: &PostgresStore)
    -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Returns the records of the database.
    #[cfg(feature = "postgres")]
    fn all_in(
        database: &PostgresStore,
    ) -> impl Future<Output = Result<Vec<Self>, StoreError>> + Send;
}

/// A file and a database, either of which may be unset.
#[derive(Debug)]
pub(super) struct Sources<T> {
    file: Option<JsonFile<T>>,
    #[cfg(feature = "postgres")]
    database: Option<PostgresStore>,
    /// The lock is held while the sources are read again.
    read: Mutex<Read<T>>,
}

/// What was read of the sources.
#[derive(Debug)]
struct Read<T> {
    file: Source<FileVersion, T>,
    #[cfg(feature = "postgres")]
    database: Source<i64, T>,
    /// The number of times that a source was read again.
    version: u64,
}

/// The records of a source. `version` is that of the source just before the records were read, so
/// that a change in between is found the next time.
#[derive(Debug)]
struct Source<V, T> {
    version: Option<V>,
    records: Vec<T>,
}

/// Why a source cannot be read.
pub(super) enum SourceError {
    File(JsonFileError),
    Store(StoreError),
}

impl<V, T> Default for Source<V, T> {
    fn default() -> Self {
        Self {
            version: None,
            records: Vec::new(),
        }
    }
}

impl<T> Default for Sources<T> {
    fn default() -> Self {
        Self {
            file: None,
            #[cfg(feature = "postgres")]
            database: None,
            read: Mutex::new(Read {
                file: Source::default(),
                #[cfg(feature = "postgres")]
                database: Source::default(),
                version: 0,
            }),
        }
    }
}

impl<T: SourceRecord> Sources<T> {
    /// Replaces the file, which the next refresh reads.
    pub(super) fn set_file(&mut self, file: JsonFile<T>) {
        self.file = Some(file);
        self.read.get_mut().file = Source::default();
    }

    /// Replaces the database, which the next refresh reads.
    #[cfg(feature = "postgres")]
    pub(super) fn set_database(&mut self, database: PostgresStore) {
        self.database = Some(database);
        self.read.get_mut().database = Source::default();
    }

    /// Whether there is a file or a database.
    pub(super) fn are_set(&self) -> bool {
        #[cfg(feature = "postgres")]
        if self.database.is_some() {
            return true;
        }
        self.file.is_some()
    }

    /// Reads the records of each source that has changed, and gives `use_records` all records if
    /// any source has. If a source cannot be read, its former records stay, and the other source is
    /// read all the same.
    pub(super) async fn refresh(
        &self,
        use_records: impl FnOnce(Vec<T>),
    ) -> Result<(), SourceError> {
        let mut read = self.read.lock().await;
        let file = self.refresh_file(&mut read.file).await;
        #[cfg(feature = "postgres")]
        let database = self.refresh_database(&mut read.database).await;
        #[cfg(not(feature = "postgres"))]
        let database = Ok(false);
        if matches!(file, Ok(true)) || matches!(database, Ok(true)) {
            use_records(read.records());
            read.version += 1;
        }
        file.and(database).map(drop)
    }

    /// Returns the records with their version, if that differs from `seen`.
    pub(super) async fn changed_since(&self, seen: u64) -> Option<(u64, Vec<T>)> {
        let read = self.read.lock().await;
        (read.version != seen).then(|| (read.version, read.records()))
    }

    /// Reads the records of the file if it has changed. Returns whether they were read.
    async fn refresh_file(&self, source: &mut Source<FileVersion, T>) -> Result<bool, SourceError> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let (reader, seen) = (file.clone(), source.version);
        let reading = move || {
            let version = reader.version();
            let is_current = version.is_some() && version == seen;
            let records = if is_current {
                None
            } else {
                Some(reader.load())
            };
            (version, records)
        };
        let read = off_thread(T::THREAD, reading).await;
        let (version, records) = read.map_err(|error| SourceError::File(file.io_error(error)))?;
        let Some(records) = records else {
            return Ok(false);
        };
        source.records = records.map_err(SourceError::File)?;
        source.version = version;
        Ok(true)
    }

    /// Reads the records of the database if they have changed. Returns whether they were read.
    #[cfg(feature = "postgres")]
    async fn refresh_database(&self, source: &mut Source<i64, T>) -> Result<bool, SourceError> {
        let Some(database) = &self.database else {
            return Ok(false);
        };
        let version = T::version_in(database).await.map_err(SourceError::Store)?;
        if source.version == Some(version) {
            return Ok(false);
        }
        source.records = T::all_in(database).await.map_err(SourceError::Store)?;
        source.version = Some(version);
        Ok(true)
    }
}

impl<T: Clone> Read<T> {
    /// Returns the records of all sources.
    fn records(&self) -> Vec<T> {
        let records = self.file.records.iter();
        #[cfg(feature = "postgres")]
        let records = records.chain(&self.database.records);
        records.cloned().collect()
    }
}
