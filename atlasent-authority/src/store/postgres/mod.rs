//! The store in PostgreSQL, for several processes that share one ledger and one chain.
//!
//! All connections belong to a thread of the store's own, so that the store works in any async
//! runtime and without one. Four connections write, one counts calls, one serves the API keys and
//! the registry of organizations, two read events, and one serves all other reads.

mod approvals;
mod check;
mod connector;
mod counter;
mod counts;
mod keys;
mod organizations;
mod permits;
mod query;
mod reader;
mod record_table;
mod retry;
mod rows;
mod schema;
mod session;
mod url;
mod writer;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{join, join_all, join3};
use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};

use self::approvals::ApprovalPage;
use self::connector::Connector;
use self::counter::{CountedCall, Counter};
pub(crate) use self::keys::KeyCall;
use self::keys::Keys;
use self::query::Page;
use self::reader::{QueuedRead, ReadCall, Reader};
#[cfg(feature = "server")]
pub(crate) use self::record_table::{KeptKey, KeptOrganization, RecordTable};
use self::writer::Writer;
use super::group::{self, Group, Jobs};
use super::read_places::{READS, ReadPlaces};
use super::{
    ApprovalEntry, ApprovalKey, ApprovalList, CellKey, Changeset, OrgId, Organizations,
    RateCounter, Store, StoreError, StoreStatus,
};
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;

/// How many connections write, each for other organizations.
const WRITERS: usize = 4;

/// How many calls are queued at most. Further callers wait until the queue has room.
const WAITING: usize = 4_096;

/// A store in a PostgreSQL database (12 or newer), which any number of processes share.
///
/// ```no_run
/// use atlasent_authority::{LocalAuthority, Policies, PostgresStore};
///
/// # futures_executor::block_on(async {
/// let policies = Policies::parse("permit (principal, action, resource);")?;
/// let store = PostgresStore::connect("postgres://atlasent:secret@db.internal/atlasent").await?;
/// let authority = LocalAuthority::builder(policies).store(store).build().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// It creates its tables by itself; their names start with `atlasent_`. The changes of all
/// processes to one organization run one after the other, and each is on the server's disk before
/// it is answered, whatever `synchronous_commit` says. A store is that of one organization:
/// `local`, unless [`organization`](Organizations::organization) returned it. Clones share their
/// connections.
///
/// A pooler in between may give each transaction another connection (PgBouncer: `pool_mode =
/// transaction`). The store notices it, and sends its statements unprepared.
///
/// # Isolation
///
/// Transactions are `READ COMMITTED`. With `atlasent_isolation=serializable` in the url they are
/// `SERIALIZABLE`, for databases that have nothing less. Transactions that the database fails
/// because of others are then run again, with their changes, for at most 10 seconds.
///
/// # TLS
///
/// TLS always verifies: the server's certificate must match the host of the url, and come from an
/// authority that this system trusts. On Linux `SSL_CERT_FILE` names other authorities. Without
/// `sslmode` in the url, TLS is required for a server on another machine, and not used for one on
/// this machine. `sslmode=disable` turns TLS off, and `sslmode=prefer` continues without TLS where
/// the server offers none: use both only on a private network.
///
/// # When the server goes away
///
/// Changes are refused within seconds. Each new change tries to connect again, so the store
/// recovers by itself. A change that is interrupted is refused although it may have been kept: ask
/// again to find out. With several hosts in the url (`host1,host2`), the store connects to the one
/// that accepts changes.
#[derive(Clone)]
pub struct PostgresStore {
    group: Group,
    reads: ReadQueue,
    /// Reads of the status and of permits, which long reads do not delay.
    status: ReadQueue,
    calls: mpsc::Sender<CountedCall>,
    keys: mpsc::Sender<KeyCall>,
    name: String,
}

/// The sending end of a queue of reads.
#[derive(Clone)]
struct ReadQueue {
    calls: mpsc::Sender<QueuedRead>,
    places: ReadPlaces,
}

impl ReadQueue {
    /// Creates a queue. Returns its receiving end, too.
    fn new() -> (Self, mpsc::Receiver<QueuedRead>) {
        let (calls, called) = mpsc::channel(READS);
        let places = ReadPlaces::default();
        (Self { calls, places }, called)
    }

    /// Queues a read of an organization. Refuses it if the queue has no place for it.
    fn push(&self, org: &OrgId, call: ReadCall) -> Result<(), StoreError> {
        let place = self.places.take(org)?;
        self.calls
            .try_send((call, place))
            .map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Closed(_) => closed(),
            })
    }
}

impl PostgresStore {
    /// Connects to the database of a url (`postgres://user:password@host:port/database`), and
    /// creates or migrates its tables.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the url is invalid, when the server refuses the connection or cannot be
    /// reached within 5 seconds, or when the tables are of a newer version. The error names the
    /// server and never the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let connector = Connector::new(url)?;
        let name = connector.name().to_owned();
        let (group, jobs) = group::queue();
        let (reads, read) = ReadQueue::new();
        let (status, asked) = ReadQueue::new();
        let (calls, called) = mpsc::channel(WAITING);
        let (keys, key_calls) = mpsc::channel(WAITING);
        let (ready, opened) = oneshot::channel();
        std::thread::Builder::new()
            .name("atlasent-store".to_owned())
            .spawn(
                move || match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => {
                        runtime.block_on(serve(
                            &connector, ready, jobs, read, asked, called, key_calls,
                        ));
                    }
                    Err(error) => drop(ready.send(Err(StoreError::failed(error)))),
                },
            )
            .map_err(StoreError::failed)?;
        opened.await.map_err(|_| closed())??;
        Ok(Self {
            group,
            reads,
            status,
            calls,
            keys,
            name,
        })
    }

    pub(crate) async fn key_call<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> KeyCall,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.keys.send(call(done)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> ReadCall,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        let question = question(done);
        let queue = match question {
            ReadCall::Events(..)
            | ReadCall::Count(..)
            | ReadCall::Permits(..)
            | ReadCall::Approvals(..)
            | ReadCall::OpenApprovals(..)
            | ReadCall::Cells(..) => &self.reads,
            ReadCall::Status(..)
            | ReadCall::PermitKey(..)
            | ReadCall::Approval(..)
            | ReadCall::Organizations(..) => &self.status,
        };
        queue.push(self.group.org(), question)?;
        answer.await.map_err(|_| unanswered())?
    }
}

/// The store's thread: runs until the store is dropped.
async fn serve(
    connector: &Connector,
    ready: oneshot::Sender<Result<(), StoreError>>,
    jobs: Jobs,
    reads: mpsc::Receiver<QueuedRead>,
    status: mpsc::Receiver<QueuedRead>,
    calls: mpsc::Receiver<CountedCall>,
    keys: mpsc::Receiver<KeyCall>,
) {
    let migrated = match connector.connect(&schema::PURPOSE).await {
        Ok(session) => schema::migrate(connector, &writer::PURPOSE, &session).await,
        Err(error) => Err(error),
    };
    let goes_on = migrated.is_ok();
    // A caller that has stopped waiting has dropped the store's queues as well.
    let _ = ready.send(migrated);
    if goes_on {
        let (calls, keys) = (Mutex::new(calls), Mutex::new(keys));
        let (reads, status) = (Mutex::new(reads), Mutex::new(status));
        let counts = std::sync::Mutex::default();
        join(
            join3(
                join_all(
                    (0..WRITERS)
                        .map(|_| restarted(async || Writer::new(connector).write(&jobs).await)),
                ),
                restarted(async || {
                    let calls = &mut *calls.lock().await;
                    Counter::new(connector).count(calls).await;
                }),
                restarted(async || Keys::new(connector).answer(&mut *keys.lock().await).await),
            ),
            join3(
                restarted(async || Reader::new(connector).read(&reads, &counts).await),
                restarted(async || Reader::new(connector).read(&reads, &counts).await),
                restarted(async || Reader::new(connector).read(&status, &counts).await),
            ),
        )
        .await;
    }
}

/// Runs a part of the store to its end, and again after each panic. A panic drops the senders of
/// the calls in progress, so their callers get an error, and closes the connection, which undoes
/// its transaction.
async fn restarted(part: impl AsyncFn()) {
    while AssertUnwindSafe(part()).catch_unwind().await.is_err() {
        tracing::error!(target: "atlasent", "a part of the store panicked, and restarts");
    }
}

fn unanswered() -> StoreError {
    StoreError::failed("reading the database panicked: try again")
}

fn closed() -> StoreError {
    StoreError::failed("the store was closed")
}

impl Store for PostgresStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        self.group.commit(now, reads, change).await
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let page = Page {
            org: self.group.org().clone(),
            after,
            limit,
            filter: filter.clone(),
        };
        self.read(|done| ReadCall::Events(page, done)).await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.read(|done| ReadCall::Count(self.group.org().clone(), filter, done))
            .await
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        let org = self.group.org().clone();
        self.read(|done| ReadCall::Permits(org, before, limit, done))
            .await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        let org = self.group.org().clone();
        self.read(|done| ReadCall::PermitKey(org, id, done)).await
    }

    async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, StoreError> {
        let page = ApprovalPage {
            org: self.group.org().clone(),
            list,
            before,
            limit,
        };
        self.read(|done| ReadCall::Approvals(page, done)).await
    }

    async fn approval(&self, key: ApprovalKey) -> Result<Option<ApprovalEntry>, StoreError> {
        let org = self.group.org().clone();
        self.read(|done| ReadCall::Approval(org, key, done)).await
    }

    async fn backup(&self) -> Result<std::fs::File, StoreError> {
        Err(StoreError::Unsupported(
            "a store in PostgreSQL is backed up by the database: use `pg_dump`, or continuous archiving",
        ))
    }

    async fn backup_has_others(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        let org = self.group.org().clone();
        self.read(|done| ReadCall::Status(org, done)).await
    }
}

impl RateCounter for PostgresStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        let (done, number) = oneshot::channel();
        let counter = self.group.org().counter(counter);
        let call = CountedCall::new(&counter, minute, done);
        self.calls.send(call).await.map_err(|_| closed())?;
        number.await.map_err(|_| unanswered())?
    }
}

impl Organizations for PostgresStore {
    type Store = Self;

    fn organization(&self, id: &OrgId) -> Self {
        Self {
            group: self.group.organization(id),
            ..self.clone()
        }
    }

    async fn create_organization(&self, id: &OrgId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.key_call(|done| KeyCall::CreateOrganization(id, done))
            .await
    }

    async fn organizations(
        &self,
        after: Option<&OrgId>,
        limit: usize,
    ) -> Result<Vec<OrgId>, StoreError> {
        let after = after.cloned();
        self.read(|done| ReadCall::Organizations(after, limit, done))
            .await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_begins_anew_and_its_change_is_answered() {
        let (group, jobs) = group::queue();
        let rounds = AtomicUsize::new(0);
        let part = restarted(async || {
            while let Some(taken) = jobs.next().await {
                // The panic loses the first two changes.
                assert!(
                    rounds.fetch_add(1, Ordering::SeqCst) > 1,
                    "a fault that a test injected"
                );
                taken.answer(&Err(StoreError::failed("answered")));
            }
        });
        let changes = async move {
            for expected in [
                "writing the store panicked",
                "writing the store panicked",
                "answered",
            ] {
                let change = group
                    .commit(Timestamp::UNIX_EPOCH, Vec::new(), |_| ())
                    .await;
                let text = change.unwrap_err().to_string();
                assert!(text.contains(expected), "{text}");
            }
        };
        tokio::join!(part, changes);
    }
}
