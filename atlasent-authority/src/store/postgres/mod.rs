//! The store in PostgreSQL: one truth for several processes.
//!
//! A thread of its own talks to the database, so that the store works in any runtime, and in none. One connection writes,
//! one counts calls, one reads.

mod connection;
mod counter;
mod schema;
mod writer;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::group::{self, Group};
use super::{CellKey, Draft, EventFilter, Store, StoreError, StoreStatus};
use crate::chain::SealedEvent;
use connection::Address;
use counter::Call;
use writer::{as_bigint, parse};

/// How many calls wait to be counted at most before those who bring more have to wait themselves.
const WAITING: usize = 4_096;

/// Permits and events in a PostgreSQL database, version 12 or later, for any number of processes.
///
/// ```no_run
/// use atlasent_authority::{LocalAuthority, Policies, PostgresStore};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let policies = Policies::from_dir("policies")?;
/// let store = PostgresStore::open("postgres://atlasent:secret@db.internal/atlasent?sslmode=require").await?;
/// let authority = LocalAuthority::builder(policies).store(store).build().await?;
/// # Ok(()) }
/// ```
///
/// Each change holds the lock on the end of the chain, whichever process makes it: that is what makes one order of
/// all. A process takes all its waiting changes into one transaction. The tables are made and brought up to date when a store is
/// opened. Clones share their connections.
///
/// To other machines TLS is required, unless the address says `sslmode=disable`, or `prefer`; the certificate has to be one
/// that the system trusts.
/// When the database goes away, changes are refused; each new one tries again.
#[derive(Clone)]
pub struct PostgresStore {
    group: Group,
    calls: mpsc::Sender<Call>,
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    reader: Mutex<Option<Arc<Client>>>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

impl PostgresStore {
    /// Opens the store in a database, and makes its tables if they are not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the address cannot be read, the database cannot be reached, or its tables are of a newer
    /// version. No error holds the password.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("atlasent-postgres")
            .enable_all()
            .build()
            .map_err(StoreError::failed)?;
        let (group, jobs) = group::queue();
        let (calls, waiting) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared {
            address: address.clone(),
            reader: Mutex::new(None),
            runtime: Some(runtime),
        });
        let migrating = address.clone();
        shared.run(async move { migrate(&migrating).await }).await?;
        shared.spawn(writer::write(address.clone(), jobs));
        shared.spawn(counter::count(address, waiting));
        Ok(Self {
            group,
            calls,
            shared,
        })
    }

    /// Runs a statement on the connection for readers.
    pub(crate) async fn read(
        &self,
        query: &'static str,
        parameters: Vec<Box<dyn ToSql + Sync + Send>>,
    ) -> Result<Vec<Row>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.shared
            .run(async move {
                let client = shared.reader().await?;
                let parameters: Vec<&(dyn ToSql + Sync)> =
                    parameters.iter().map(|value| &**value as _).collect();
                let rows = client.query(query, &parameters).await;
                rows.map_err(|error| shared.address.failed(&error))
            })
            .await
    }
}

#[cfg(feature = "server")]
impl PostgresStore {
    pub(crate) fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, StoreError> {
        parse(json)
    }
}

async fn migrate(address: &Address) -> Result<(), StoreError> {
    let mut client = address.connect().await?;
    let migrated = schema::migrate(&mut client).await;
    migrated
        .map_err(|error| address.failed(&error))?
        .map_err(|found| {
            address.explain(&format!(
                "its tables have version {found}, which this program does not know: take a newer one"
            ))
        })
}

impl Shared {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Runs something on the thread that talks to the database, wherever the caller waits for it.
    async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, result) = oneshot::channel();
        self.spawn(async move {
            // Nobody waits for it any more.
            let _ = done.send(task.await);
        });
        result
            .await
            .map_err(|_| StoreError::failed("the store was closed"))?
    }

    async fn reader(&self) -> Result<Arc<Client>, StoreError> {
        let mut reader = self.reader.lock().await;
        if let Some(client) = reader.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = self.address.connect().await?;
        Ok(Arc::clone(reader.insert(Arc::new(client))))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its tasks, which no task of another runtime may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether an event passes a filter, whose parts are the parameters `$1` to `$5`.
macro_rules! passes {
    () => {
        "($1::text[] IS NULL OR kind = ANY($1)) AND ($2::bytea IS NULL OR actor_id = $2)
         AND ($3::text IS NULL OR occurred_at >= $3) AND ($4::text IS NULL OR occurred_at <= $4)
         AND ($5::bigint IS NULL OR sequence <= $5)"
    };
}

fn parameters(filter: &EventFilter) -> Vec<Box<dyn ToSql + Sync + Send>> {
    let types = Some(filter.types.clone()).filter(|types| !types.is_empty());
    let actor_id = filter.actor_id.clone().map(String::into_bytes);
    vec![
        Box::new(types),
        Box::new(actor_id),
        Box::new(filter.since.clone()),
        Box::new(filter.until.clone()),
        Box::new(filter.through.map(as_bigint)),
    ]
}

impl Store for PostgresStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.group.commit(now, reads, change).await
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let mut parameters = parameters(filter);
        parameters.push(Box::new(as_bigint(after)));
        parameters.push(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
        let query = concat!(
            "SELECT sequence, kind, actor_id, occurred_at, previous_hash, hash, payload FROM atlasent_events WHERE ",
            passes!(),
            " AND sequence > $6 ORDER BY sequence LIMIT $7"
        );
        let rows = self.read(query, parameters).await?;
        rows.iter().map(|row| event(row).map(Arc::new)).collect()
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        if filter.is_all() {
            let status = self.status().await?;
            return Ok(status.head.sequence - status.dropped);
        }
        let query = concat!("SELECT count(*) FROM atlasent_events WHERE ", passes!());
        let rows = self.read(query, parameters(filter)).await?;
        Ok(rows.first().map_or(0, |row| number(row, 0)))
    }

    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        let gone = || StoreError::failed("the store was closed");
        let (done, count) = oneshot::channel();
        let call = Call {
            counter: counter.to_owned(),
            minute,
            done,
        };
        self.calls.send(call).await.map_err(|_| gone())?;
        count.await.map_err(|_| gone())?
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        // How many cells there are is the planner's estimate: to count them costs more the more there are.
        let query = "SELECT head, dropped,
            (SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'atlasent_cells'::regclass)
            FROM atlasent_head";
        let rows = self.read(query, Vec::new()).await?;
        let Some(row) = rows.first() else {
            return Err(self.shared.address.explain("it has no head of a chain"));
        };
        Ok(StoreStatus {
            head: parse(row.get(0))?,
            dropped: number(row, 1),
            cells: number(row, 2),
        })
    }
}

fn number(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}

fn event(row: &Row) -> Result<SealedEvent, StoreError> {
    let actor_id: Option<Vec<u8>> = row.get(2);
    let actor_id = actor_id.map(String::from_utf8).transpose();
    Ok(SealedEvent {
        sequence: number(row, 0),
        kind: row.get::<_, String>(1).into(),
        actor_id: actor_id.map_err(StoreError::failed)?,
        occurred_at: row.get(3),
        previous_hash: row.get(4),
        hash: row.get(5),
        payload: row.get(6),
    })
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
