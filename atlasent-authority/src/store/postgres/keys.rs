//! API keys and new organizations, on a connection of their own, so that a revoked key is refused within moments even
//! while long reads of the audit trail are running.
#![cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "API keys belong to the server")
)]

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Error;

use super::connector::{Connector, Purpose, QueryError, Session};
use super::organizations;
use crate::store::{OrgId, StoreError};

/// Keys are few, so a server that takes longer is overloaded or unreachable.
const PURPOSE: Purpose = Purpose {
    settings: "",
    answer: Duration::from_secs(3),
};

type ResultSender<T> = oneshot::Sender<Result<T, StoreError>>;

/// Rewrites the JSON of a key, or returns `None` to leave the key as it is.
type Rewrite = Box<dyn Fn(&str) -> Result<Option<String>, StoreError> + Send>;

/// A call about API keys, with the sender of its answer.
pub(crate) enum KeyCall {
    /// Returns the version of the keys, which every change to a key changes.
    Version(ResultSender<i64>),
    /// Returns the keys, as JSON, in the order in which they were created.
    All(ResultSender<Vec<String>>),
    /// Keeps a key, in place of the key with the same id.
    Put(KeptKey, ResultSender<()>),
    /// Creates an organization. Returns `false` if it exists.
    CreateOrganization(OrgId, ResultSender<bool>),
    /// Rewrites the key with an id in one transaction. Returns whether it was rewritten.
    Rewrite(String, Rewrite, ResultSender<bool>),
}

/// A row of the table of API keys.
pub(crate) struct KeptKey {
    pub(crate) key_id: String,
    pub(crate) json: String,
    /// Microseconds since 1970.
    pub(crate) created_at: i64,
}

/// The connection for API keys.
pub(super) struct Keys<'a> {
    connector: &'a Connector,
    session: Option<Session>,
}

impl<'a> Keys<'a> {
    /// Creates a state without a connection.
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            session: None,
        }
    }

    /// Answers calls until all their senders are dropped.
    pub(super) async fn answer(mut self, calls: &mut mpsc::Receiver<KeyCall>) {
        while let Some(call) = calls.recv().await {
            // A read whose caller has gone is skipped; a change is made all the same.
            match call {
                KeyCall::Version(done) if !done.is_closed() => {
                    let _ = done.send(self.look_up(version).await);
                }
                KeyCall::All(done) if !done.is_closed() => {
                    let _ = done.send(self.look_up(all).await);
                }
                KeyCall::Version(_) | KeyCall::All(_) => {}
                KeyCall::Put(key, done) => {
                    let put = self.change(async |session| key.put(session).await).await;
                    let _ = done.send(put);
                }
                KeyCall::CreateOrganization(id, done) => {
                    let created = self
                        .change(async |session| organizations::create(session, &id).await)
                        .await;
                    let _ = done.send(created);
                }
                KeyCall::Rewrite(id, rewritten, done) => {
                    let changed = self
                        .change(async |session| rewrite(session, &id, &rewritten).await)
                        .await;
                    let _ = done.send(changed.and_then(|changed| changed));
                }
            }
        }
    }

    /// Reads, and tries once more if the connection was lost since the last call.
    async fn look_up<T>(
        &mut self,
        question: impl AsyncFn(&Session) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        match self.attempt(&question).await {
            Err(error) if error.is_lost => Ok(self.attempt(&question).await?),
            answer => Ok(answer?),
        }
    }

    /// Makes a change, once: if the connection is lost meanwhile, the change may have been kept.
    async fn change<T>(
        &mut self,
        change: impl AsyncFn(&Session) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        Ok(self.attempt(&change).await?)
    }

    /// Makes one attempt. A connection that fails is closed, which undoes its transaction.
    async fn attempt<T>(
        &mut self,
        question: &impl AsyncFn(&Session) -> Result<T, Error>,
    ) -> Result<T, QueryError> {
        let session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => self.connector.connect(&PURPOSE).await?,
        };
        let answer = self.connector.within(&PURPOSE, question(&session)).await?;
        self.session = Some(session);
        Ok(answer)
    }
}

async fn version(session: &Session) -> Result<i64, Error> {
    let query = "SELECT version FROM atlasent_api_keys_version";
    session.client.query_one_scalar(query, &[]).await
}

async fn all(session: &Session) -> Result<Vec<String>, Error> {
    let query = "SELECT key FROM atlasent_api_keys ORDER BY created_at, key_id";
    let rows = session.client.query(query, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn rewrite(
    session: &Session,
    id: &str,
    rewritten: &Rewrite,
) -> Result<Result<bool, StoreError>, Error> {
    let client = &session.client;
    client.batch_execute("BEGIN").await?;
    let select = "SELECT key FROM atlasent_api_keys WHERE key_id = $1 FOR UPDATE";
    let row = client.query_opt(select, &[&id]).await?;
    let json: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    let rewritten = json.map_or(Ok(None), |json| rewritten(&json));
    if let Ok(Some(json)) = &rewritten {
        let update = "UPDATE atlasent_api_keys SET key = $2 WHERE key_id = $1";
        client.execute(update, &[&id, json]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(rewritten.map(|json| json.is_some()))
}

impl KeptKey {
    async fn put(&self, session: &Session) -> Result<(), Error> {
        let put = "INSERT INTO atlasent_api_keys (key_id, key, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (key_id) DO UPDATE SET key = excluded.key";
        let client = &session.client;
        client
            .execute(put, &[&self.key_id, &self.json, &self.created_at])
            .await
            .map(drop)
    }
}
