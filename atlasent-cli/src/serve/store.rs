//! The store of `serve`: its options, its opening, and the checks against an earlier chain.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlasent_authority::permits::PermitId;
use atlasent_authority::store::{
    ApprovalEntry, ApprovalKey, ApprovalList, CellKey, Changeset, OrgId, Organizations,
    PermitEntry, PermitKey, RateCounter, SealedEvent, Store, StoreError, StoreStatus,
};
use atlasent_authority::trail::{EventFilter, HeadFile};
use atlasent_authority::{MemoryStore, PostgresStore, RedbStore};
use clap::Args;
use jiff::Timestamp;

use crate::data_dir;
use crate::exit::Failure;

/// The value of `--store`.
#[derive(Clone)]
pub(crate) enum StoreChoice {
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
            _ => Err("unknown store: use `memory`, `redb` or a `postgres://…` URL"),
        }
    }
}

impl StoreChoice {
    /// Returns the folder with the heads of the organizations' chains; `None` for a store that does
    /// not outlive the process.
    pub(super) fn heads_folder(&self, data: &Path) -> Option<PathBuf> {
        match self {
            Self::Memory => None,
            Self::Redb => Some(data_dir::heads_folder(data)),
            Self::Postgres(_) => Some(data_dir::database_heads_folder(data)),
        }
    }
}

/// Never displays the database URL, which may hold a password.
impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory (lost when the process ends)",
            Self::Redb => "redb",
            Self::Postgres(_) => "PostgreSQL",
        })
    }
}

/// A store of any of the three kinds.
#[derive(Debug)]
pub(crate) enum AnyStore {
    Memory(Box<MemoryStore>),
    Redb(RedbStore),
    Postgres(PostgresStore),
}

/// The options that allow a start with another chain than the last known one.
#[derive(Args, Default)]
pub(crate) struct ChainOptions {
    /// Start a new chain in a data directory whose store is missing; for one start
    #[arg(long, conflicts_with = "accept_older_store")]
    new_chain: bool,

    /// Accept a store that is older than the last known event, or has another chain; for one start,
    /// after a restore
    #[arg(long)]
    accept_older_store: bool,
}

impl AnyStore {
    /// Opens the store. If a server has used the data directory before, refuses a store that is
    /// missing, empty, older or replaced, unless the options allow it.
    pub(crate) async fn open(
        choice: &StoreChoice,
        data: &Path,
        options: &ChainOptions,
    ) -> Result<(Self, Option<HeadFile>), Failure> {
        let (store, head) = match choice {
            StoreChoice::Memory => return Ok((Self::Memory(Box::default()), None)),
            StoreChoice::Redb => {
                let head = HeadFile::new(data_dir::head_file(data));
                (Self::Redb(options.open_file(data, &head)?), head)
            }
            StoreChoice::Postgres(address) => {
                let store = PostgresStore::connect(address).await;
                let head = HeadFile::new(data_dir::database_head_file(data));
                (Self::Postgres(store.map_err(Failure::misuse)?), head)
            }
        };
        options.check(&store, &head).await?;
        Ok((store, Some(head)))
    }

    /// Makes the start after a crash fast: `--fast-recovery`.
    pub(super) fn with_fast_recovery(self) -> Result<Self, Failure> {
        match self {
            Self::Redb(store) => Ok(Self::Redb(store.with_fast_recovery())),
            Self::Memory(_) | Self::Postgres(_) => Err(Failure::misuse(
                "`--fast-recovery` is for `--store redb`: omit it for another store",
            )),
        }
    }
}

impl ChainOptions {
    /// Whether the chains of organizations may be others than the last known ones. A new store has
    /// none of them.
    pub(super) fn accepts_other_chains(&self) -> bool {
        self.accept_older_store || self.new_chain
    }

    /// Opens the file of the store, and creates it at the first start or with `--new-chain`.
    fn open_file(&self, data: &Path, head: &HeadFile) -> Result<RedbStore, Failure> {
        let file = data_dir::store_file(data);
        let served_before = head.exists() || has_files(&data_dir::signing_folder(data));
        if self.new_chain || !served_before {
            return RedbStore::open(file).map_err(Failure::misuse);
        }
        if is_missing_or_empty(&file) {
            return Err(Failure::misuse(format!(
                "the store `{}` is missing or empty, but a server has used this data directory before: \
                 put the file back, restore a backup (with `--accept-older-store`), or start a new chain with `--new-chain`",
                file.display()
            )));
        }
        RedbStore::open_existing(file).map_err(Failure::misuse)
    }

    /// Compares the store with the last known chain head.
    async fn check(&self, store: &AnyStore, head: &HeadFile) -> Result<(), Failure> {
        let sequence = store.status().await.map_err(Failure::misuse)?.head.sequence;
        if self.new_chain {
            if sequence > 0 {
                return Err(Failure::misuse(format!(
                    "`--new-chain`: the store already has a chain of {sequence} events: omit the option"
                )));
            }
            return set_aside(head, "starting a new chain: `--new-chain`");
        }
        match head.check(store).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_about_the_chain() => match self.accept_older_store {
                true => set_aside(
                    head,
                    &format!("{error}, which `--accept-older-store` accepts"),
                ),
                false => Err(Failure::misuse(format!(
                    "{error}. Put the right store back; after a restore from a backup, start once with \
                         `--accept-older-store`"
                ))),
            },
            Err(error) => Err(Failure::misuse(error)),
        }
    }
}

/// Renames the head file and logs its new name, since it is the only trace of the earlier chain.
fn set_aside(head: &HeadFile, reason: &str) -> Result<(), Failure> {
    if let Some(kept) = head.set_aside().map_err(Failure::misuse)? {
        let kept = kept.display();
        tracing::warn!(target: "atlasent", %kept, "{reason}; the earlier head file is kept");
    }
    Ok(())
}

/// Whether a folder contains files. A folder that cannot be read counts as not empty.
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

/// Calls the method on the store inside.
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
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
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

    async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, StoreError> {
        forward!(self, store => store.approvals(list, before, limit).await)
    }

    async fn approval(&self, key: ApprovalKey) -> Result<Option<ApprovalEntry>, StoreError> {
        forward!(self, store => store.approval(key).await)
    }

    async fn backup(&self) -> Result<std::fs::File, StoreError> {
        forward!(self, store => store.backup().await)
    }

    async fn backup_has_others(&self) -> Result<bool, StoreError> {
        forward!(self, store => store.backup_has_others().await)
    }

    fn is_shared(&self) -> bool {
        forward!(self, store => store.is_shared())
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        forward!(self, store => store.status().await)
    }
}

impl Organizations for AnyStore {
    type Store = Self;

    fn organization(&self, id: &OrgId) -> Self {
        match self {
            Self::Memory(store) => Self::Memory(Box::new(store.organization(id))),
            Self::Redb(store) => Self::Redb(store.organization(id)),
            Self::Postgres(store) => Self::Postgres(store.organization(id)),
        }
    }

    async fn create_organization(&self, id: &OrgId) -> Result<bool, StoreError> {
        forward!(self, store => store.create_organization(id).await)
    }

    async fn organizations(
        &self,
        after: Option<&OrgId>,
        limit: usize,
    ) -> Result<Vec<OrgId>, StoreError> {
        forward!(self, store => store.organizations(after, limit).await)
    }
}

impl RateCounter for AnyStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        forward!(self, store => store.count_call(counter, minute).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_database_is_shared_with_other_processes() {
        let folder = tempfile::tempdir().unwrap();
        let redb = RedbStore::open(folder.path().join("store")).unwrap();
        for store in [AnyStore::Memory(Box::default()), AnyStore::Redb(redb)] {
            assert!(!store.is_shared(), "{store:?}");
        }
    }
}
