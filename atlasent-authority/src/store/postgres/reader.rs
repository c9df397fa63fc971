//! Reading events, permits and the head, on connections of its own, so that a long read delays no
//! change.
//!
//! Each answer comes from one statement, and so from one moment, under any isolation. A count takes
//! two: what the first one reads bounds what the second one counts.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select, try_join};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::Error;

use super::approvals::{self, ApprovalPage};
use super::check::{self, CellRow};
use super::connector::{Connector, Purpose};
use super::counts::CountCache;
use super::query::Page;
use super::retry::Retries;
use super::rows::{head_of, unsigned};
use super::session::{Parameter, Session};
use super::{organizations, permits};
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::ledger::{ApprovalEntry, ApprovalKey, PermitEntry};
use crate::store::read_places::ReadPlace;
use crate::store::{OrgId, StoreError, StoreStatus};
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;

/// Reading a whole trail may take a while.
pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET TRANSACTION READ ONLY",
    answer: Duration::from_secs(60),
};

type ResultSender<T> = oneshot::Sender<Result<T, StoreError>>;

/// A read, with the channel for its result. All but the last one read one organization.
pub(crate) enum ReadCall {
    Events(Page, ResultSender<Vec<Arc<SealedEvent>>>),
    Count(OrgId, EventFilter, ResultSender<u64>),
    Status(OrgId, ResultSender<StoreStatus>),
    /// Returns at most a number of permits that were issued before an event, the newest first.
    Permits(
        OrgId,
        u64,
        usize,
        ResultSender<Vec<(PermitKey, PermitEntry)>>,
    ),
    /// Returns at most a number of cells after a key, in the order of their keys.
    Cells(OrgId, Vec<u8>, usize, ResultSender<Vec<CellRow>>),
    /// Returns a page of pending decisions.
    Approvals(ApprovalPage, ResultSender<Vec<ApprovalEntry>>),
    /// Returns a pending decision.
    Approval(OrgId, ApprovalKey, ResultSender<Option<ApprovalEntry>>),
    /// Returns how many decisions are open, and the cell that counts them.
    OpenApprovals(OrgId, ResultSender<(u64, Option<String>)>),
    /// Returns the key of the permit with a public id.
    PermitKey(OrgId, PermitId, ResultSender<Option<PermitKey>>),
    /// Returns at most a number of organizations after an id, in the order of their ids.
    Organizations(Option<OrgId>, usize, ResultSender<Vec<OrgId>>),
}

/// A read in its queue, with its place there.
pub(super) type QueuedRead = (ReadCall, ReadPlace);

/// One of the connections that read.
pub(super) struct Reader<'a> {
    connector: &'a Connector,
    session: Option<Session>,
}

impl<'a> Reader<'a> {
    /// Creates a reader without a connection.
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            session: None,
        }
    }

    /// Serves reads until all their senders are dropped.
    pub(super) async fn read(
        mut self,
        reads: &Mutex<mpsc::Receiver<QueuedRead>>,
        counts: &std::sync::Mutex<CountCache>,
    ) {
        loop {
            let next = reads.lock().await.recv().await;
            // The place is free again when the read has its answer.
            let Some((call, _place)) = next else {
                return;
            };
            match call {
                ReadCall::Events(page, done) => {
                    let ask = async |session: &Session| {
                        of_known(session, &page.org, page.events(session)).await
                    };
                    self.answer(&page.org, done, ask).await;
                }
                ReadCall::Count(org, filter, done) => {
                    let count = async |session: &Session| {
                        CountCache::count(counts, session, &org, &filter).await
                    };
                    self.answer(&org, done, count).await;
                }
                ReadCall::Status(org, done) => {
                    let _ = done.send(self.status(&org).await);
                }
                ReadCall::Permits(org, before, limit, done) => {
                    // The caller may have dropped its future.
                    let _ = done.send(self.permits(&org, before, limit).await);
                }
                ReadCall::Approvals(page, done) => {
                    let _ = done.send(self.approvals(&page).await);
                }
                ReadCall::Approval(org, key, done) => {
                    let _ = done.send(self.approval(&org, key).await);
                }
                ReadCall::Cells(org, after, limit, done) => {
                    let ask = async |session: &Session| {
                        let cells = check::cells(session, &org, &after, limit);
                        of_known(session, &org, cells).await
                    };
                    self.answer(&org, done, ask).await;
                }
                ReadCall::OpenApprovals(org, done) => {
                    let ask = async |session: &Session| {
                        of_known(session, &org, check::open(session, &org)).await
                    };
                    self.answer(&org, done, ask).await;
                }
                ReadCall::PermitKey(org, id, done) => {
                    let ask = async |session: &Session| {
                        of_known(session, &org, permits::key_of(session, &org, id)).await
                    };
                    self.answer(&org, done, ask).await;
                }
                ReadCall::Organizations(after, limit, done) => {
                    let ask = async |session: &Session| {
                        let ids = organizations::after(session, after.as_ref(), limit);
                        session.at_once(ids).await.map(Some)
                    };
                    self.answer(&OrgId::local(), done, ask).await;
                }
            }
        }
    }

    async fn permits(
        &mut self,
        org: &OrgId,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        let rows = self
            .ask(org, async |session| {
                of_known(session, org, permits::before(session, org, before, limit)).await
            })
            .await?;
        permits::read(self.connector, &rows)
    }

    async fn approvals(&mut self, page: &ApprovalPage) -> Result<Vec<ApprovalEntry>, StoreError> {
        let rows = self
            .ask(&page.org, async |session| {
                of_known(session, &page.org, approvals::before(session, page)).await
            })
            .await?;
        approvals::read(self.connector, &rows)
    }

    async fn approval(
        &mut self,
        org: &OrgId,
        key: ApprovalKey,
    ) -> Result<Option<ApprovalEntry>, StoreError> {
        let rows = self
            .ask(org, async |session| {
                of_known(session, org, approvals::one(session, org, key)).await
            })
            .await?;
        Ok(approvals::read(self.connector, &rows)?.pop())
    }

    /// Runs a read and sends its result. A read whose caller has gone is skipped or cancelled.
    async fn answer<T>(
        &mut self,
        org: &OrgId,
        mut done: ResultSender<T>,
        question: impl AsyncFn(&Session) -> Result<Option<T>, Error>,
    ) {
        if done.is_closed() {
            return;
        }
        let answer = {
            let ask = pin!(self.ask(org, question));
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

    async fn status(&mut self, org: &OrgId) -> Result<StoreStatus, StoreError> {
        let query = "\
            SELECT org_id, sequence, hash, time, dropped, \
                (SELECT count(*) FROM atlasent_cells WHERE org = $1) \
            FROM atlasent_head WHERE org = $1";
        let row = self
            .ask(org, async |session| {
                let parameters: [&dyn Parameter; 1] = [&org.as_str()];
                let row = session.client.query_opt(query, &parameters);
                session.at_once(row).await
            })
            .await?;
        let number = |column: usize| {
            let number = row.try_get(column).map(unsigned);
            number.map_err(|error| self.connector.failed(&error))
        };
        Ok(StoreStatus {
            head: head_of(self.connector, &row)?,
            dropped: number(4)?,
            cells: number(5)?,
        })
    }

    /// Runs a read of an organization. `None` means that it is unknown.
    async fn ask<T>(
        &mut self,
        org: &OrgId,
        question: impl AsyncFn(&Session) -> Result<Option<T>, Error>,
    ) -> Result<T, StoreError> {
        let answer = self.ask_again(question).await?;
        answer.ok_or_else(|| StoreError::UnknownOrganization(org.clone()))
    }

    /// Runs a read, again after each conflict, and once more if the connection was lost since the
    /// last read.
    async fn ask_again<T>(
        &mut self,
        question: impl AsyncFn(&Session) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let mut retries = Retries::new(&PURPOSE);
        loop {
            // A connection that fails or misses its time limit is closed, since it would delay the
            // next read, too.
            let reused = self.session.take();
            let was_reused = reused.is_some();
            let session = match reused {
                Some(session) => session,
                None => self.connector.connect(&PURPOSE).await?,
            };
            // It stays in its place meanwhile, where a caller that stops waiting cancels it.
            let session = self.session.insert(session);
            let answer = self.connector.within(&PURPOSE, question(session)).await;
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if retries.again(&error).await => {}
                Err(error) => {
                    self.session = None;
                    if !(error.is_lost && was_reused) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Cancels the statement in progress, and closes the connection, since its next answer would
    /// belong to a caller that has gone.
    async fn cancel(&mut self) {
        if let Some(session) = self.session.take() {
            self.connector.cancel(&session).await;
        }
    }
}

/// Reads an organization in one round trip. Returns `None` if it is unknown. `question` must send
/// its statement before it waits.
async fn of_known<T>(
    session: &Session,
    org: &OrgId,
    question: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    if org.is_local() {
        return session.at_once(question).await.map(Some);
    }
    let both = try_join(organizations::exists(session, org), question);
    let (exists, answer) = session.at_once(both).await?;
    Ok(exists.then_some(answer))
}
