//! API keys and organizations, on a connection of their own, so that a revoked key is refused
//! within moments even while long reads of the audit trail are running.
#![cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "API keys and the registry belong to the server")
)]

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Error;

use super::connector::{Connector, Purpose, QueryError};
use super::organizations;
use super::record_table::{KeptKey, KeptOrganization, RecordTable, Rewrite};
use super::retry::Retries;
use super::session::Session;
use crate::store::{OrgId, StoreError};

/// Keys and organizations are few, so a server that takes longer is overloaded or unreachable.
const PURPOSE: Purpose = Purpose {
    settings: "SET LOCAL synchronous_commit = on",
    answer: Duration::from_secs(3),
};

type ResultSender<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call about API keys or organizations, with the sender of its answer.
pub(crate) enum KeyCall {
    /// Returns the version of a table, which every change to it changes.
    Version(RecordTable, ResultSender<i64>),
    /// Returns the records of a table, as JSON, in the order in which they were created.
    All(RecordTable, ResultSender<Vec<String>>),
    /// Keeps a key, in place of the key with the same id. Returns `false` if that one belongs to
    /// another organization.
    Put(KeptKey, ResultSender<bool>),
    /// Creates the chain of an organization. Returns `false` if it exists.
    CreateOrganization(OrgId, ResultSender<bool>),
    /// Keeps a new organization and creates its chain. Returns `false` if it exists.
    CreateRecord(KeptOrganization, ResultSender<bool>),
    /// Rewrites the record with an id in one transaction. Returns whether it was rewritten.
    Rewrite(RecordTable, String, Rewrite, ResultSender<bool>),
}

/// The connection for API keys and organizations.
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
                KeyCall::Version(table, done) if !done.is_closed() => {
                    let version = async |session: &Session| table.version(session).await;
                    let _ = done.send(self.look_up(version).await);
                }
                KeyCall::All(table, done) if !done.is_closed() => {
                    let all = async |session: &Session| table.all(session).await;
                    let _ = done.send(self.look_up(all).await);
                }
                KeyCall::Version(..) | KeyCall::All(..) => {}
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
                KeyCall::CreateRecord(organization, done) => {
                    let created = self
                        .change(async |session| organization.create(session).await)
                        .await;
                    let _ = done.send(created);
                }
                KeyCall::Rewrite(table, id, rewrite, done) => {
                    let changed = self
                        .change(async |session| table.rewrite(session, &id, &rewrite).await)
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

    /// Runs a transaction, and again after each conflict, which has kept nothing. A connection that
    /// fails is closed.
    async fn attempt<T>(
        &mut self,
        question: &impl AsyncFn(&Session) -> Result<T, Error>,
    ) -> Result<T, QueryError> {
        let session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => self.connector.connect(&PURPOSE).await?,
        };
        let mut retries = Retries::new(&PURPOSE);
        let answer = loop {
            let transaction = session.transaction(question(&session));
            match self.connector.within(&PURPOSE, transaction).await {
                Err(error) if retries.again(&error).await => {}
                answer => break answer?,
            }
        };
        self.session = Some(session);
        Ok(answer)
    }
}
