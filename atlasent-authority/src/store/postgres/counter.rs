//! Counts calls for all processes that share the database. Counts are exact while the
//! database runs, and may be lost when it crashes.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Error;

use super::connector::{Connector, Purpose, QueryError};
use super::retry::Retries;
use super::rows::{signed, unsigned};
use super::session::{Parameter, Query, Session};
use crate::store::StoreError;

/// How many calls one statement counts at most.
const MOST: usize = 1_024;

pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET LOCAL synchronous_commit = off",
    answer: Duration::from_secs(5),
};

/// Counts calls in the newest minute of any process, since a clock that is behind must not give
/// calls back. Rows are locked in the order of their keys, so two processes never deadlock.
const COUNT: &str = "\
    WITH newest AS (SELECT greatest($3::bigint, max(minute)) AS minute FROM atlasent_calls) \
    INSERT INTO atlasent_calls AS known (counter, minute, count) \
    SELECT called.counter, newest.minute, called.count \
    FROM unnest($1::bytea[], $2::bigint[]) AS called (counter, count), newest \
    ORDER BY called.counter \
    ON CONFLICT (counter) DO UPDATE SET \
        minute = greatest(known.minute, excluded.minute), \
        count = excluded.count + CASE WHEN excluded.minute > known.minute THEN 0 ELSE known.count END \
    RETURNING counter, count";

/// Deletes some counts of past minutes. A row that another process has locked is skipped.
const FORGET: &str = "\
    DELETE FROM atlasent_calls WHERE counter IN ( \
        SELECT counter FROM atlasent_calls \
        WHERE minute < (SELECT max(minute) FROM atlasent_calls) LIMIT 1000 FOR UPDATE SKIP LOCKED)";

/// A call to count, with the channel for its number.
pub(super) struct CountedCall {
    counter: [u8; 32],
    minute: i64,
    done: oneshot::Sender<Result<u64, StoreError>>,
}

/// The connection that counts calls.
pub(super) struct Counter<'a> {
    connector: &'a Connector,
    open: Option<PreparedSession>,
    /// The minute before which all counts are deleted.
    forgotten: i64,
}

struct PreparedSession {
    session: Session,
    count: Query,
    forget: Query,
}

impl CountedCall {
    /// Creates a call under `counter`. Only its digest is kept, since the text may be long or
    /// personal.
    pub(super) fn new(
        counter: &str,
        minute: i64,
        done: oneshot::Sender<Result<u64, StoreError>>,
    ) -> Self {
        Self {
            counter: Sha256::digest(counter).into(),
            minute,
            done,
        }
    }
}

impl<'a> Counter<'a> {
    /// Creates a counter without a connection.
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            open: None,
            forgotten: i64::MIN,
        }
    }

    /// Counts calls until all their senders are dropped.
    pub(super) async fn count(mut self, calls: &mut mpsc::Receiver<CountedCall>) {
        let mut group = Vec::new();
        while calls.recv_many(&mut group, MOST).await > 0 {
            let result = self.count_all(&group).await;
            answer(group.drain(..), result);
        }
    }

    /// Counts a group of calls. Returns the number of calls under each counter.
    async fn count_all(&mut self, group: &[CountedCall]) -> Result<CallTotals, StoreError> {
        let open = match self.open.take() {
            Some(open) if !open.session.client.is_closed() => open,
            _ => {
                let session = self.connector.connect(&PURPOSE).await?;
                self.connector
                    .within(&PURPOSE, PreparedSession::prepare(session))
                    .await?
            }
        };
        let minute = group.iter().map(|call| call.minute).max().unwrap_or(0);
        let counts = self
            .retried(async || open.count(group, minute).await)
            .await?;
        if minute > self.forgotten {
            let forgotten = self.retried(async || open.forget().await).await?;
            if forgotten == 0 {
                self.forgotten = minute;
            }
        }
        self.open = Some(open);
        Ok(counts)
    }

    /// Runs a transaction, and again after each conflict with another process.
    async fn retried<T>(
        &self,
        transaction: impl AsyncFn() -> Result<T, Error>,
    ) -> Result<T, QueryError> {
        let mut retries = Retries::new(&PURPOSE);
        loop {
            let result = self.connector.within(&PURPOSE, transaction()).await;
            match result {
                Err(error) if retries.again(&error).await => {}
                result => return result,
            }
        }
    }
}

type CallTotals = BTreeMap<[u8; 32], u64>;

impl PreparedSession {
    async fn prepare(session: Session) -> Result<Self, Error> {
        Ok(Self {
            count: session.client.prepare(COUNT).await?,
            forget: session.client.prepare(FORGET).await?,
            session,
        })
    }

    async fn count(&self, group: &[CountedCall], minute: i64) -> Result<CallTotals, Error> {
        let mut calls = CallTotals::new();
        for call in group {
            *calls.entry(call.counter).or_default() += 1;
        }
        let counters: Vec<&[u8]> = calls.keys().map(<[u8; 32]>::as_slice).collect();
        let numbers: Vec<i64> = calls.values().copied().map(signed).collect();
        let parameters: [&dyn Parameter; 3] = [&counters, &numbers, &minute];
        let rows = self.session.client.query(&self.count, &parameters);
        let rows = self.session.at_once(rows).await?;
        for row in rows {
            let counter: &[u8] = row.try_get(0)?;
            if let Some(count) = calls.get_mut(counter) {
                *count = unsigned(row.try_get(1)?);
            }
        }
        Ok(calls)
    }

    /// Deletes some counts of past minutes. Returns how many.
    async fn forget(&self) -> Result<u64, Error> {
        let deleted = self.session.client.execute(&self.forget, &[]);
        self.session.at_once(deleted).await
    }
}

/// Gives each call a number of its own: the last call of a counter gets the full count.
fn answer(
    group: impl DoubleEndedIterator<Item = CountedCall>,
    result: Result<CallTotals, StoreError>,
) {
    let mut counts = result;
    for call in group.rev() {
        let number = counts
            .as_mut()
            .map_err(|error| error.clone())
            .map(|counts| {
                let count = counts.entry(call.counter).or_default();
                let number = *count;
                *count = count.saturating_sub(1);
                number
            });
        // The caller may have dropped its future.
        let _ = call.done.send(number);
    }
}
