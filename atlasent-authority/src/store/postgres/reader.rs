//! Reading: what is asked of the events and of the head, on connections of its own, so that a long answer holds up no
//! change.

use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::link::{Link, Purpose, Session};
use super::permits;
use super::rows::{EVENT, head_of, sealed, signed, to_text, unsigned};
use crate::chain::SealedEvent;
use crate::ledger::PermitEntry;
use crate::permit_key::{PermitId, PermitKey};
use crate::store::{EventFilter, StoreError, StoreStatus};

/// A whole trail may take a while.
pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET default_transaction_read_only = on",
    answer: Duration::from_secs(60),
};

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// A question, and whoever waits for the answer.
pub(crate) enum Read {
    Events(Page, Done<Vec<Arc<SealedEvent>>>),
    Count(EventFilter, Done<u64>),
    Status(Done<StoreStatus>),
    /// Permits that were issued before an event, at most so many, the newest first.
    Permits(u64, usize, Done<Vec<(PermitKey, PermitEntry)>>),
    /// The key of the permit with a public id.
    PermitKey(PermitId, Done<Option<PermitKey>>),
    /// The API keys, as JSON, in the order in which they were made.
    ApiKeys(Done<Vec<String>>),
    /// An API key to keep.
    PutApiKey(KeptKey, Done<()>),
}

/// An API key, as it is kept.
pub(crate) struct KeptKey {
    pub(crate) key_id: String,
    pub(crate) json: String,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

/// Which events are asked for.
pub(crate) struct Page {
    pub(super) after: u64,
    pub(super) limit: usize,
    pub(super) filter: EventFilter,
}

/// One of those who answer.
pub(super) struct Reader<'a> {
    link: &'a Link,
    session: Option<Session>,
}

impl<'a> Reader<'a> {
    /// A reader that has no connection yet.
    pub(super) fn new(link: &'a Link) -> Self {
        Self {
            link,
            session: None,
        }
    }

    /// Answers until nobody can ask any more.
    pub(super) async fn read(mut self, reads: &Mutex<mpsc::Receiver<Read>>) {
        loop {
            let next = reads.lock().await.recv().await;
            // Nobody waits any more, where an answer cannot be sent.
            match next {
                Some(Read::Events(page, done)) => {
                    let _ = done.send(self.ask(async |session| page.events(session).await).await);
                }
                Some(Read::Count(filter, done)) => {
                    let _ = done.send(
                        self.ask(async |session| count(session, &filter).await)
                            .await,
                    );
                }
                Some(Read::Status(done)) => {
                    let _ = done.send(self.status().await);
                }
                Some(Read::Permits(before, limit, done)) => {
                    let _ = done.send(self.permits(before, limit).await);
                }
                Some(Read::PermitKey(id, done)) => {
                    let ask = async |session: &Session| permits::key_of(session, id).await;
                    let _ = done.send(self.ask(ask).await);
                }
                Some(Read::ApiKeys(done)) => {
                    let _ = done.send(self.ask(api_keys).await);
                }
                Some(Read::PutApiKey(key, done)) => {
                    let _ = done.send(self.ask(async |session| key.put(session).await).await);
                }
                None => return,
            }
        }
    }

    async fn permits(
        &mut self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        let rows = self
            .ask(async |session| permits::before(session, before, limit).await)
            .await?;
        permits::read(self.link, &rows)
    }

    async fn status(&mut self) -> Result<StoreStatus, StoreError> {
        let query = "\
            SELECT org_id, sequence, hash, time, dropped, (SELECT count(*) FROM atlasent_cells) \
            FROM atlasent_head";
        let ask = async |session: &Session| session.client.query_one(query, &[]).await;
        let row = self.ask(ask).await?;
        let number = |column: usize| {
            let number = row.try_get(column).map(unsigned);
            number.map_err(|error| self.link.failed(&error))
        };
        Ok(StoreStatus {
            head: head_of(self.link, &row)?,
            dropped: number(4)?,
            cells: number(5)?,
        })
    }

    /// Asks, and once more if the connection turns out to be lost since the last time.
    async fn ask<T>(
        &mut self,
        question: impl AsyncFn(&Session) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        if let Some(session) = self.session.take() {
            match self.link.within(&PURPOSE, question(&session)).await {
                Ok(answer) => {
                    self.session = Some(session);
                    return Ok(answer);
                }
                Err(trouble) if trouble.is_lost => {}
                // One that gave no answer in time would give the next one late, too.
                Err(trouble) => return Err(trouble.into()),
            }
        }
        let session = self.link.connect(&PURPOSE).await?;
        let answer = self.link.within(&PURPOSE, question(&session)).await?;
        self.session = Some(session);
        Ok(answer)
    }
}

impl Page {
    async fn events(&self, session: &Session) -> Result<Vec<Arc<SealedEvent>>, Error> {
        let mut query = Query::new(EVENT, self.after, &self.filter);
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        query.add("ORDER BY sequence LIMIT", limit, Type::INT8);
        let rows = session
            .client
            .query_typed_raw(&query.text, query.parameters);
        let mut rows = pin!(rows.await?);
        let mut events = Vec::new();
        while let Some(row) = rows.try_next().await? {
            events.push(Arc::new(sealed(&row)?));
        }
        Ok(events)
    }
}

async fn api_keys(session: &Session) -> Result<Vec<String>, Error> {
    let query = "SELECT key FROM atlasent_api_keys ORDER BY created_at, key_id";
    let rows = session.client.query(query, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

impl KeptKey {
    /// Keeps it, in place of the one with its id. It is rare enough to go along with the reading.
    async fn put(&self, session: &Session) -> Result<(), Error> {
        let client = &session.client;
        client.batch_execute("BEGIN READ WRITE").await?;
        let put = "INSERT INTO atlasent_api_keys (key_id, key, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (key_id) DO UPDATE SET key = excluded.key";
        let put = client
            .execute(put, &[&self.key_id, &self.json, &self.created_at])
            .await;
        // After an error it undoes.
        client.batch_execute("COMMIT").await?;
        put.map(drop)
    }
}

async fn count(session: &Session, filter: &EventFilter) -> Result<u64, Error> {
    let client = &session.client;
    let count: i64 = if filter.is_all() {
        // There are no gaps.
        let between = "SELECT sequence - dropped FROM atlasent_head";
        client.query_one_scalar(between, &[]).await?
    } else {
        let query = Query::new("count(*)", 0, filter);
        let rows = client
            .query_typed_raw(&query.text, query.parameters)
            .await?;
        let rows: Vec<_> = rows.try_collect().await?;
        rows.first().map_or(Ok(0), |row| row.try_get(0))?
    };
    Ok(unsigned(count))
}

/// A question about events. What is not asked for is not in it, so that the server finds the right index.
struct Query {
    text: String,
    parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Query {
    fn new(columns: &str, after: u64, filter: &EventFilter) -> Self {
        let mut query = Self {
            text: format!(
                "SELECT {columns} FROM atlasent_events \
                 WHERE sequence > (SELECT dropped FROM atlasent_head)"
            ),
            parameters: Vec::new(),
        };
        query.add("AND sequence >", signed(after), Type::INT8);
        if let Some(through) = filter.through {
            query.add("AND sequence <=", signed(through), Type::INT8);
        }
        if let [kind] = &*filter.types {
            query.add("AND kind =", to_text(kind), Type::TEXT);
        } else if !filter.types.is_empty() {
            let kinds: Vec<_> = filter.types.iter().map(|kind| to_text(kind)).collect();
            query.add("AND kind = ANY", kinds, Type::TEXT_ARRAY);
        }
        if let Some(actor) = &filter.actor_id {
            query.add("AND actor_id =", to_text(actor), Type::TEXT);
        }
        if let Some(since) = &filter.since {
            query.add("AND occurred_at >=", since.clone(), Type::TEXT);
        }
        if let Some(until) = &filter.until {
            query.add("AND occurred_at <=", until.clone(), Type::TEXT);
        }
        query
    }

    /// Adds a condition that ends in a parameter.
    fn add(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.parameters.push((Box::new(value), kind));
        let _ = write!(self.text, " {condition} (${})", self.parameters.len());
    }
}
