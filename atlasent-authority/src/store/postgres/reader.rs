//! Reading: what is asked of the events and of the head, on connections of its own, so that a long
//! answer holds up no change.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::Error;

use super::check::{self, KeptCell};
use super::counts::Counts;
use super::link::{Link, Purpose, Session};
use super::permits;
use super::query::Page;
use super::rows::{head_of, unsigned};
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::store::{StoreError, StoreStatus};
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;

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
    /// Cells behind a key, at most so many, in the order of their keys.
    Cells(Vec<u8>, usize, Done<Vec<KeptCell>>),
    /// The key of the permit with a public id.
    PermitKey(PermitId, Done<Option<PermitKey>>),
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
    pub(super) async fn read(
        mut self,
        reads: &Mutex<mpsc::Receiver<Read>>,
        counts: &std::sync::Mutex<Counts>,
    ) {
        loop {
            let next = reads.lock().await.recv().await;
            match next {
                Some(Read::Events(page, done)) => {
                    self.answer(done, async |session| page.events(session).await)
                        .await;
                }
                Some(Read::Count(filter, done)) => {
                    let count =
                        async |session: &Session| Counts::count(counts, session, &filter).await;
                    self.answer(done, count).await;
                }
                Some(Read::Status(done)) => {
                    let _ = done.send(self.status().await);
                }
                Some(Read::Permits(before, limit, done)) => {
                    // Whoever asked may have gone meanwhile.
                    let _ = done.send(self.permits(before, limit).await);
                }
                Some(Read::Cells(after, limit, done)) => {
                    let ask = async |session: &Session| check::cells(session, &after, limit).await;
                    self.answer(done, ask).await;
                }
                Some(Read::PermitKey(id, done)) => {
                    let ask = async |session: &Session| permits::key_of(session, id).await;
                    self.answer(done, ask).await;
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

    /// Asks, and answers. A question whose caller has gone is not asked, or is cancelled.
    async fn answer<T>(
        &mut self,
        mut done: Done<T>,
        question: impl AsyncFn(&Session) -> Result<T, Error>,
    ) {
        if done.is_closed() {
            return;
        }
        let answer = {
            let ask = pin!(self.ask(question));
            let gone = pin!(done.closed());
            match select(ask, gone).await {
                Either::Left((answer, _)) => Some(answer),
                Either::Right(_) => None,
            }
        };
        match answer {
            Some(answer) => drop(done.send(answer)),
            None => self.cancel().await,
        }
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
        if let Some(session) = &self.session {
            match self.link.within(&PURPOSE, question(session)).await {
                Ok(answer) => return Ok(answer),
                // One that gave no answer in time would give the next one late, too.
                Err(trouble) => {
                    let is_lost = trouble.is_lost;
                    self.session = None;
                    if !is_lost {
                        return Err(trouble.into());
                    }
                }
            }
        }
        let session = self.link.connect(&PURPOSE).await?;
        let session = self.session.insert(session);
        let answer = self.link.within(&PURPOSE, question(session)).await;
        if answer.is_err() {
            self.session = None;
        }
        Ok(answer?)
    }

    /// Has the server stop what it is doing for us. The connection goes, too: what it would say
    /// next is for a caller who has gone.
    async fn cancel(&mut self) {
        if let Some(session) = self.session.take() {
            self.link.cancel(&session).await;
        }
    }
}
