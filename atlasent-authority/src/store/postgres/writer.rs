//! Group commit in PostgreSQL: one transaction for all queued changes, in two round trips.
//!
//! The head's row is locked first, so that the changes of all processes run one after the other. A
//! worked example, in which servers X and Y commit at the same time (`→` is one round trip):
//!
//! ```text
//! X → BEGIN; SELECT head FOR UPDATE; SELECT cells     gets head 7 and permit P: issued
//! Y → BEGIN; SELECT head FOR UPDATE; …                waits for the head's row
//! X   runs its changes in memory                      P: consumed, event 8
//! X → INSERT event 8; UPSERT P; DELETE expired cells;
//!     UPDATE head to 8; COMMIT                        the row is free, X answers its callers
//! Y   gets head 8; SELECT cells                       gets P: consumed, and refuses it
//! ```
//!
//! The statements of one round trip are sent together, without waiting for each other's answers;
//! the server runs them in their order. `READ COMMITTED` makes Y's `SELECT cells`, which runs after
//! the wait for the lock, see what X committed. A statement that fails aborts the transaction on
//! the server, and turns the `COMMIT` behind it into a `ROLLBACK`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{try_join3, try_join5};
use tokio_postgres::{Error, Row, Statement};

use super::connector::{Connector, Purpose, Session};
use super::rows::{head_of, signed, to_text};
use crate::store::group::{self, Job, Jobs};
use crate::store::{Batch, Cell, CellKey, REMEMBERED, StoreError};
use crate::trail::chain::ChainHead;

/// The answer to a change implies that it is on disk, whatever the server's own settings are: see
/// also [`BEGIN`].
pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET synchronous_commit = on",
    answer: Duration::from_secs(10),
};

/// `READ COMMITTED`, so that each statement sees what was committed while the one before it waited.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on";

const HEAD: &str = "SELECT org_id, sequence, hash, time FROM atlasent_head FOR UPDATE";
const CELLS: &str = "SELECT key, value FROM atlasent_cells WHERE key = ANY($1::bytea[])";

const APPEND: &str = "\
    INSERT INTO atlasent_events (sequence, kind, actor_id, occurred_at, previous_hash, hash, payload) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])";
const KEEP: &str = "\
    INSERT INTO atlasent_cells (key, value, expires_at, issued) \
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[]) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";
const FORGET: &str = "\
    DELETE FROM atlasent_cells WHERE key IN ( \
        SELECT key FROM atlasent_cells WHERE expires_at <= $1::bigint ORDER BY expires_at LIMIT $2::bigint)";
const ADVANCE: &str = "\
    UPDATE atlasent_head SET sequence = $1::bigint, hash = $2, time = $3, \
        dropped = greatest(dropped, least($4::bigint, $1::bigint))";

/// Deletes rows of dropped events: few at a time, so that no change waits long.
const SWEEP: &str = "\
    DELETE FROM atlasent_events WHERE sequence IN ( \
        SELECT sequence FROM atlasent_events WHERE sequence <= (SELECT dropped FROM atlasent_head) \
        ORDER BY sequence LIMIT 1000 FOR UPDATE SKIP LOCKED)";

/// The cells to read, by their keys in the table.
type Keys = BTreeMap<[u8; 33], CellKey>;

/// The one connection that writes.
pub(super) struct Writer<'a> {
    connector: &'a Connector,
    open: Option<PreparedSession>,
    /// Whether rows of dropped events may be left.
    sweeps: bool,
}

/// A connection with its statements.
struct PreparedSession {
    session: Session,
    head: Statement,
    cells: Statement,
    append: Statement,
    keep: Statement,
    forget: Statement,
    advance: Statement,
}

impl<'a> Writer<'a> {
    /// Creates a writer without a connection.
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            open: None,
            // A process may have stopped between dropping events and deleting their rows.
            sweeps: true,
        }
    }

    /// Keeps queued changes until every sender is dropped.
    pub(super) async fn write(mut self, jobs: &mut Jobs) {
        while let Some(mut next) = jobs.next().await {
            let result = self.keep(&mut next).await;
            group::answer(next, &result);
            while self.sweep().await && jobs.is_empty() {}
        }
    }

    async fn keep(&mut self, jobs: &mut [Job]) -> Result<(), StoreError> {
        let keys = group::reads(jobs)
            .map(|key| (key.to_bytes(), key))
            .collect();
        // After an error the connection is dropped. It is put back at the end when all went well.
        let (open, mut batch) = self.begin(&keys).await?;
        let ran = group::run(jobs, &mut batch);
        if ran.is_err() || batch.is_empty() {
            let rollback = open.session.client.batch_execute("ROLLBACK");
            self.connector.within(&PURPOSE, rollback).await?;
        } else {
            let changes = BatchRows::from_batch(&batch, jobs.len()).map_err(StoreError::failed)?;
            self.connector
                .within(&PURPOSE, open.commit(&changes))
                .await?;
            self.sweeps |= batch.dropped().is_some();
        }
        self.open = Some(open);
        ran
    }

    /// Begins a transaction, and loads the cells that the changes read. A connection that was lost
    /// since the last transaction is replaced without an error, since nothing was written on it.
    async fn begin(&mut self, keys: &Keys) -> Result<(PreparedSession, Batch), StoreError> {
        if let Some(open) = self.open.take() {
            match self.connector.within(&PURPOSE, open.load(keys)).await {
                Ok(loaded) => return Ok((open, self.batch(&loaded, keys)?)),
                Err(error) if error.is_lost => {}
                Err(error) => return Err(error.into()),
            }
        }
        let open = self.connect().await?;
        let loaded = self.connector.within(&PURPOSE, open.load(keys)).await?;
        let batch = self.batch(&loaded, keys)?;
        Ok((open, batch))
    }

    async fn connect(&self) -> Result<PreparedSession, StoreError> {
        let session = self.connector.connect(&PURPOSE).await?;
        Ok(self
            .connector
            .within(&PURPOSE, PreparedSession::prepare(session))
            .await?)
    }

    fn batch(&self, loaded: &(Row, Vec<Row>), keys: &Keys) -> Result<Batch, StoreError> {
        let (head, cells) = loaded;
        let head = head_of(self.connector, head)?;
        let mut known = Vec::with_capacity(cells.len());
        for row in cells {
            let text = || Ok((row.try_get::<_, &[u8]>(0)?, row.try_get::<_, &str>(1)?));
            let (key, value) = text().map_err(|error| self.connector.failed(&error))?;
            let cell: Cell = serde_json::from_str(value).map_err(|error| {
                // Without the error's text, which may contain a caller's values.
                let (line, column) = (error.line(), error.column());
                let place = format_args!("an entry cannot be read at {line}:{column}");
                self.connector.refused(place)
            })?;
            known.extend(keys.get(key).map(|key| (*key, cell)));
        }
        Ok(Batch::new(head, known))
    }

    /// Deletes rows of dropped events. Returns whether more may be left.
    async fn sweep(&mut self) -> bool {
        if let Some(open) = self.open.as_ref().filter(|_| self.sweeps) {
            let swept = open.session.client.execute(SWEEP, &[]);
            match self.connector.within(&PURPOSE, swept).await {
                Ok(rows) => self.sweeps = rows > 0,
                // The next change reports what is wrong.
                Err(_) => self.open = None,
            }
        }
        self.sweeps && self.open.is_some()
    }
}

impl PreparedSession {
    async fn prepare(session: Session) -> Result<Self, Error> {
        let client = &session.client;
        let (head, cells, append) = try_join3(
            client.prepare(HEAD),
            client.prepare(CELLS),
            client.prepare(APPEND),
        )
        .await?;
        let (keep, forget, advance) = try_join3(
            client.prepare(KEEP),
            client.prepare(FORGET),
            client.prepare(ADVANCE),
        )
        .await?;
        Ok(Self {
            session,
            head,
            cells,
            append,
            keep,
            forget,
            advance,
        })
    }

    /// The first round trip: locks the head, and then reads the cells as they are under the lock.
    async fn load(&self, keys: &Keys) -> Result<(Row, Vec<Row>), Error> {
        let client = &self.session.client;
        let keys: Vec<&[u8]> = keys.keys().map(<[u8; 33]>::as_slice).collect();
        let ((), head, cells) = try_join3(
            client.batch_execute(BEGIN),
            client.query_one(&self.head, &[]),
            client.query(&self.cells, &[&keys]),
        )
        .await?;
        Ok((head, cells))
    }

    /// The second round trip. A statement that fails aborts the transaction, so the `COMMIT` that
    /// was sent behind it acts as a `ROLLBACK`.
    async fn commit(&self, changes: &BatchRows<'_>) -> Result<(), Error> {
        let client = &self.session.client;
        let BatchRows {
            events,
            cells,
            head,
            ..
        } = changes;
        let sequence = signed(head.sequence);
        let time = head.time.to_string();
        try_join5(
            client.execute(
                &self.append,
                &[
                    &events.sequence,
                    &events.kind,
                    &events.actor_id,
                    &events.occurred_at,
                    &events.previous_hash,
                    &events.hash,
                    &events.payload,
                ],
            ),
            client.execute(
                &self.keep,
                &[&cells.key, &cells.value, &cells.expires_at, &cells.issued],
            ),
            client.execute(&self.forget, &[&changes.over, &changes.most]),
            client.execute(
                &self.advance,
                &[&sequence, &head.hash, &time, &changes.dropped],
            ),
            client.batch_execute("COMMIT"),
        )
        .await
        .map(drop)
    }
}

/// The rows that a batch leaves, column by column.
struct BatchRows<'a> {
    events: EventColumns<'a>,
    cells: CellColumns,
    head: &'a ChainHead,
    dropped: i64,
    /// Cells that expired before this time, in microseconds since 1970, are deleted.
    over: i64,
    /// How many expired cells are deleted at most: more than are added, so that a backlog shrinks.
    most: i64,
}

#[derive(Default)]
struct EventColumns<'a> {
    sequence: Vec<i64>,
    kind: Vec<String>,
    actor_id: Vec<Option<String>>,
    occurred_at: Vec<&'a str>,
    previous_hash: Vec<&'a str>,
    hash: Vec<&'a str>,
    payload: Vec<&'a str>,
}

#[derive(Default)]
struct CellColumns {
    key: Vec<Vec<u8>>,
    value: Vec<String>,
    expires_at: Vec<i64>,
    issued: Vec<Option<i64>>,
}

impl<'a> BatchRows<'a> {
    fn from_batch(batch: &'a Batch, changes: usize) -> Result<Self, serde_json::Error> {
        let mut events = EventColumns::default();
        for event in batch.events() {
            events.sequence.push(signed(event.sequence));
            events.kind.push(to_text(&event.kind));
            events.actor_id.push(event.actor_id.as_deref().map(to_text));
            events.occurred_at.push(&event.occurred_at);
            events.previous_hash.push(&event.previous_hash);
            events.hash.push(&event.hash);
            events.payload.push(&event.payload);
        }
        let mut cells = CellColumns::default();
        for (key, cell) in batch.cells() {
            cells.key.push(key.to_bytes().to_vec());
            cells.value.push(serde_json::to_string(cell)?);
            cells.expires_at.push(cell.expires_at().as_microsecond());
            let permit = cell.permit();
            cells
                .issued
                .push(permit.map(|entry| signed(entry.sequence)));
        }
        let head = batch.head();
        let over = head.time.checked_sub(REMEMBERED);
        Ok(Self {
            events,
            cells,
            head,
            dropped: batch.dropped().map_or(0, signed),
            over: over.map_or(i64::MIN, |over| over.as_microsecond()),
            most: i64::try_from(2 * changes + 16).unwrap_or(i64::MAX),
        })
    }
}
