//! The store that `--store` names.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use atlasent_authority::permits::PermitId;
use atlasent_authority::store::{
    CellKey, Changeset, PermitEntry, PermitKey, RateCounter, SealedEvent, Store, StoreError,
    StoreStatus,
};
use atlasent_authority::trail::{EventFilter, HeadFile, HeadFileError};
use atlasent_authority::{MemoryStore, PostgresStore, RedbStore};
use clap::Args;
use jiff::Timestamp;

use crate::data;
use crate::exit::Failure;

/// What `--store` may say.
#[derive(Clone)]
pub(super) enum StoreChoice {
    Memory,
    Redb,
    Postgres(String),
}

impl StoreChoice {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "memory" => Ok(Self::Memory),
            "redb" => Ok(Self::Redb),
            _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err("use `memory`, `redb`, or the address of a database, `postgres://…`"),
        }
    }
}

/// Never an address: it may hold a password.
impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory: gone when the process ends",
            Self::Redb => "redb",
            Self::Postgres(_) => "PostgreSQL",
        })
    }
}

/// One of the stores.
#[derive(Debug)]
pub(super) enum AnyStore {
    Memory(Box<MemoryStore>),
    Redb(RedbStore),
    Postgres(PostgresStore),
}

/// Which store is accepted in a data directory that has seen one before.
#[derive(Args)]
pub(super) struct Accept {
    /// Begin a new chain in a data directory whose store is gone; for one start
    #[arg(long, conflicts_with = "accept_older_store")]
    new_chain: bool,

    /// Accept a store that is behind the newest event seen here, or has another chain; for one start, after a restore
    #[arg(long)]
    accept_older_store: bool,
}

impl AnyStore {
    /// Opens the store. One that is missing, emptied or replaced where a server has served before is refused, unless
    /// `accept` allows it.
    pub(super) async fn open(
        choice: &StoreChoice,
        data: &Path,
        accept: &Accept,
    ) -> Result<(Self, Option<HeadFile>), Failure> {
        let (store, head) = match choice {
            StoreChoice::Memory => return Ok((Self::Memory(Box::default()), None)),
            StoreChoice::Redb => {
                let head = HeadFile::new(data::head_file(data));
                (Self::Redb(accept.open_file(data, &head)?), head)
            }
            StoreChoice::Postgres(address) => {
                let store = PostgresStore::connect(address).await;
                let head = HeadFile::new(data::database_head_file(data));
                (Self::Postgres(store.map_err(Failure::misuse)?), head)
            }
        };
        accept.check(&store, &head).await?;
        Ok((store, Some(head)))
    }
}

impl Accept {
    /// Opens the store's file. It may be new at the first start, or with `--new-chain`.
    fn open_file(&self, data: &Path, head: &HeadFile) -> Result<RedbStore, Failure> {
        let file = data::store_file(data);
        let served_before = head.exists() || has_files(&data::signing_folder(data));
        if self.new_chain || !served_before {
            return RedbStore::open(file).map_err(Failure::misuse);
        }
        if is_missing_or_empty(&file) {
            return Err(Failure::misuse(format!(
                "the store `{}` is missing or empty, and a server has served from this data directory before: \
                 put the file back or restore a backup (with `--accept-older-store`), or begin a new chain with `--new-chain`",
                file.display()
            )));
        }
        RedbStore::open_existing(file).map_err(Failure::misuse)
    }

    /// Compares the store with the newest head that was seen.
    async fn check(&self, store: &AnyStore, head: &HeadFile) -> Result<(), Failure> {
        let sequence = store.status().await.map_err(Failure::misuse)?.head.sequence;
        if self.new_chain {
            if sequence > 0 {
                return Err(Failure::misuse(format!(
                    "`--new-chain`: the store has a chain of {sequence} events already: leave the option out"
                )));
            }
            return set_aside(head, "a new chain begins: `--new-chain`");
        }
        match head.check(store).await {
            Ok(()) => Ok(()),
            Err(
                error @ (HeadFileError::Behind { .. }
                | HeadFileError::Differs { .. }
                | HeadFileError::Unreadable { .. }),
            ) => match self.accept_older_store {
                true => set_aside(
                    head,
                    &format!("{error}, which `--accept-older-store` accepts"),
                ),
                false => Err(Failure::misuse(format!(
                    "{error}. Put the right store back; after a restore from a backup start once with \
                         `--accept-older-store`"
                ))),
            },
            Err(error) => Err(Failure::misuse(error)),
        }
    }
}

/// Keeps the former head under another name, since it is the trace of the chain that was there.
fn set_aside(head: &HeadFile, why: &str) -> Result<(), Failure> {
    if let Some(kept) = head.set_aside().map_err(Failure::misuse)? {
        let kept = kept.display();
        tracing::warn!(target: "atlasent", %kept, "{why}; the head that was seen before is kept");
    }
    Ok(())
}

/// Whether a folder has anything in it. One that cannot be looked at may have.
fn has_files(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut files) => files.next().is_some(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

fn is_missing_or_empty(file: &Path) -> bool {
    match std::fs::metadata(file) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Calls the same method of the store that it is.
macro_rules! forward {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            AnyStore::Memory($store) => $call,
            AnyStore::Redb($store) => $call,
            AnyStore::Postgres($store) => $call,
        }
    };
}

impl Store for AnyStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        forward!(self, store => store.commit(now, reads, change).await)
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        forward!(self, store => store.events(after, limit, filter).await)
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        forward!(self, store => store.count_events(filter).await)
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        forward!(self, store => store.permits(before, limit).await)
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        forward!(self, store => store.permit_key(id).await)
    }

    async fn backup(&self) -> Result<std::fs::File, StoreError> {
        forward!(self, store => store.backup().await)
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        forward!(self, store => store.status().await)
    }
}

impl RateCounter for AnyStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        forward!(self, store => store.count_call(counter, minute).await)
    }
}
