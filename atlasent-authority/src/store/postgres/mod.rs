//! The store in PostgreSQL: for several processes that share one ledger and one chain.
//!
//! All connections live on a thread of their own, so that the store can be used from any runtime and from none. One
//! connection changes, one counts calls, one has the API keys, two read.

mod counter;
mod keys;
mod link;
mod reader;
mod rows;
mod schema;
mod writer;

use std::fmt;
use std::sync::Arc;

use futures_util::future::join5;
use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc, oneshot};

use self::counter::{Call, Counter};
use self::keys::Keys;
#[cfg_attr(
    not(feature = "server"),
    allow(unused_imports, reason = "API keys belong to the server")
)]
pub(crate) use self::keys::{KeptKey, KeyCall};
use self::link::Link;
use self::reader::{Page, Read, Reader};
use self::writer::Writer;
use super::group::{self, Group, Jobs};
use super::{CellKey, Draft, EventFilter, RateCounter, Store, StoreError, StoreStatus};
use crate::chain::SealedEvent;

/// How many calls and questions wait at most before those who bring more have to wait themselves.
const WAITING: usize = 4_096;

/// Permits and events in a PostgreSQL database (12 or newer), which any number of processes share.
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
/// It makes its tables by itself; their names begin with `atlasent_`. The changes of all processes are one after the
/// other, and each is on the server's disk before it is answered, whatever `synchronous_commit` says. A pooler between
/// the two has to keep a session together (PgBouncer: `pool_mode = session`). Clones share their connections.
///
/// # TLS
///
/// There is no TLS here that does not verify: the server's certificate has to be for the host of the url, and from an
/// authority that this system trusts. On Linux `SSL_CERT_FILE` names other authorities. Without `sslmode` in the url, a
/// server on another machine has to offer TLS, and one on this machine is spoken to without. `sslmode=disable` goes
/// without TLS, and `sslmode=prefer` does when the server offers none: both only for a network that nobody else is on.
///
/// # When the server goes away
///
/// Changes are refused within seconds, and each new one tries again, so that the store recovers by itself. When the
/// server goes away in the middle of a change, it is refused although it may have been kept: whoever asks again sees. With
/// several hosts in the url (`host1,host2`), the one that takes changes is found.
#[derive(Clone)]
pub struct PostgresStore {
    group: Group,
    reads: mpsc::Sender<Read>,
    calls: mpsc::Sender<Call>,
    #[cfg_attr(
        not(feature = "server"),
        allow(dead_code, reason = "API keys belong to the server")
    )]
    keys: mpsc::Sender<KeyCall>,
    name: String,
}

impl PostgresStore {
    /// Connects to the database of a url (`postgres://user:password@host:port/database`), and makes its tables or those
    /// that are new in this version.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the url cannot be read, when the server cannot be reached within 5 seconds or refuses, or
    /// when the tables are of a newer version. It names the server and never the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let link = Link::new(url)?;
        let name = link.name().to_owned();
        let (group, jobs) = group::queue();
        let (reads, read) = mpsc::channel(WAITING);
        let (calls, called) = mpsc::channel(WAITING);
        let (keys, key_calls) = mpsc::channel(WAITING);
        let (ready, opened) = oneshot::channel();
        std::thread::Builder::new()
            .name("atlasent-store".to_owned())
            .spawn(
                move || match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => {
                        runtime.block_on(serve(&link, ready, jobs, read, called, key_calls));
                    }
                    Err(error) => drop(ready.send(Err(StoreError::failed(error)))),
                },
            )
            .map_err(StoreError::failed)?;
        opened.await.map_err(|_| closed())??;
        Ok(Self {
            group,
            reads,
            calls,
            keys,
            name,
        })
    }

    #[cfg(feature = "server")]
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
        question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Read,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.reads
            .send(question(done))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// What the thread does, until the store is dropped.
async fn serve(
    link: &Link,
    ready: oneshot::Sender<Result<(), StoreError>>,
    jobs: Jobs,
    reads: mpsc::Receiver<Read>,
    calls: mpsc::Receiver<Call>,
    keys: mpsc::Receiver<KeyCall>,
) {
    let migrated = match link.connect(&writer::PURPOSE).await {
        Ok(session) => schema::migrate(link, &writer::PURPOSE, &session).await,
        Err(error) => Err(error),
    };
    let goes_on = migrated.is_ok();
    // Whoever stopped waiting for it has dropped the other ends as well.
    let _ = ready.send(migrated);
    if goes_on {
        let reads = Mutex::new(reads);
        join5(
            Writer::new(link).write(jobs),
            Counter::new(link).count(calls),
            Keys::new(link).answer(keys),
            Reader::new(link).read(&reads),
            Reader::new(link).read(&reads),
        )
        .await;
    }
}

fn closed() -> StoreError {
    StoreError::failed("the store was closed")
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
        let page = Page {
            after,
            limit,
            filter: filter.clone(),
        };
        self.read(|done| Read::Events(page, done)).await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.read(|done| Read::Count(filter, done)).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.read(Read::Status).await
    }
}

impl RateCounter for PostgresStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        let (done, number) = oneshot::channel();
        let call = Call::new(counter, minute, done);
        self.calls.send(call).await.map_err(|_| closed())?;
        number.await.map_err(|_| closed())?
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.name).finish()
    }
}
