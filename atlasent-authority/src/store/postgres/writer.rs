//! Group commit in PostgreSQL: one transaction for all queued changes, in two round trips.
//!
//! The head's row is locked first, so that the changes of all processes to one organization run one
//! after the other. Those of different organizations run side by side, on a few connections. A
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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{try_join3, try_join5};
use tokio_postgres::{Error, Row, Statement};

use super::connector::{Connector, Purpose, Session};
use super::rows::{head_of, signed, to_text};
use crate::store::group::{Jobs, OrgJobs, Round};
use crate::store::{Batch, Cell, CellKey, OrgId, REMEMBERED, StoreError};

/// The answer to a change implies that it is on disk, whatever the server's own settings are: see
/// also [`BEGIN`].
pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET synchronous_commit = on",
    answer: Duration::from_secs(10),
};

/// `READ COMMITTED`, so that each statement sees what was committed while the one before it waited.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on";

const HEADS: &str = "\
    SELECT org_id, sequence, hash, time, org FROM atlasent_head WHERE org = ANY($1::text[]) \
    ORDER BY org FOR UPDATE";

/// The cells by their keys. The limit keeps the planner from reading the whole table.
const CELLS: &str = "\
    SELECT wanted.org, wanted.key, found.value \
    FROM unnest($1::text[], $2::bytea[]) AS wanted (org, key), LATERAL ( \
        SELECT value FROM atlasent_cells WHERE org = wanted.org AND key = wanted.key LIMIT 1) AS found";

const APPEND: &str = "\
    INSERT INTO atlasent_events (org, sequence, kind, actor_id, occurred_at, previous_hash, hash, payload) \
    SELECT * FROM unnest( \
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])";
const KEEP: &str = "\
    INSERT INTO atlasent_cells (org, key, value, expires_at, issued) \
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[]) \
    ON CONFLICT (org, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";

/// Deletes expired cells of the organizations whose heads are locked: no other process writes these.
/// The array makes the planner look each key up, also where the table is large.
const FORGET: &str = "\
    DELETE FROM atlasent_cells AS cell USING unnest($1::text[], $2::bigint[]) AS past (org, time) \
    WHERE cell.org = past.org AND cell.key = ANY (ARRAY( \
        SELECT old.key FROM atlasent_cells AS old \
        WHERE old.org = past.org AND old.expires_at <= past.time \
        ORDER BY old.expires_at LIMIT $3::bigint))";
const ADVANCE: &str = "\
    UPDATE atlasent_head AS head SET sequence = new.sequence, hash = new.hash, time = new.time, \
        dropped = greatest(head.dropped, least(new.dropped, new.sequence)) \
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[]) \
        AS new (org, sequence, hash, time, dropped) \
    WHERE head.org = new.org";

/// Deletes rows of dropped events: few at a time, so that no change waits long.
const SWEEP: &str = "\
    DELETE FROM atlasent_events WHERE (org, sequence) IN ( \
        SELECT event.org, event.sequence FROM atlasent_head AS head, LATERAL ( \
            SELECT org, sequence FROM atlasent_events \
            WHERE org = head.org AND sequence <= head.dropped \
            ORDER BY sequence LIMIT 1000 FOR UPDATE SKIP LOCKED) AS event \
        WHERE head.dropped > 0 LIMIT 1000)";

/// The cells to read, by their keys in the table.
type Keys = BTreeMap<[u8; 33], CellKey>;

/// A connection that writes.
pub(super) struct Writer<'a> {
    connector: &'a Connector,
    open: Option<PreparedSession>,
    /// Whether rows of dropped events may be left.
    sweeps: bool,
}

/// A connection with its statements.
struct PreparedSession {
    session: Session,
    heads: Statement,
    cells: Statement,
    append: Statement,
    keep: Statement,
    forget: Statement,
    advance: Statement,
}

/// What a transaction loads: the heads, and the cells that the changes read.
type Loaded = (Vec<Row>, Vec<Row>);

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
    pub(super) async fn write(mut self, jobs: &Jobs) {
        while let Some(mut next) = jobs.next().await {
            let result = self.keep(&mut next).await;
            next.answer(&result);
            while self.sweep().await && jobs.is_empty() {}
        }
    }

    /// Runs the changes, and keeps them in one transaction. Changes of an organization that cannot
    /// be run are answered here, and do not affect those of another.
    async fn keep(&mut self, round: &mut Round) -> Result<(), StoreError> {
        // Rows are locked in the order of the organizations, so that two processes never wait for
        // each other.
        round.orgs().sort_unstable_by(|a, b| a.org.cmp(&b.org));
        let wanted = Wanted::by(round.orgs());
        // After an error the connection is dropped. It is put back at the end when all went well.
        let (open, loaded) = self.begin(&wanted).await?;
        let mut batches = Vec::new();
        for jobs in round.orgs() {
            let Some(mut batch) = self.batch(&loaded, jobs)? else {
                jobs.answer(&Err(StoreError::UnknownOrganization(jobs.org.clone())));
                continue;
            };
            match jobs.run(&mut batch) {
                Ok(()) if batch.is_empty() => {}
                Ok(()) => batches.push((jobs.org.clone(), batch)),
                Err(error) => jobs.answer(&Err(error)),
            }
        }
        if batches.is_empty() {
            let rollback = open.session.client.batch_execute("ROLLBACK");
            self.connector.within(&PURPOSE, rollback).await?;
        } else {
            let changes = round.len();
            let rows = BatchRows::from_batches(&batches, changes).map_err(StoreError::failed)?;
            self.connector.within(&PURPOSE, open.commit(&rows)).await?;
            self.sweeps |= batches.iter().any(|(_, batch)| batch.dropped().is_some());
        }
        self.open = Some(open);
        Ok(())
    }

    /// Begins a transaction, and loads the heads and cells. A connection that was lost since the
    /// last transaction is replaced without an error, since nothing was written on it.
    async fn begin(&mut self, wanted: &Wanted) -> Result<(PreparedSession, Loaded), StoreError> {
        if let Some(open) = self.open.take() {
            match self.connector.within(&PURPOSE, open.load(wanted)).await {
                Ok(loaded) => return Ok((open, loaded)),
                Err(error) if error.is_lost => {}
                Err(error) => return Err(error.into()),
            }
        }
        let open = self.connect().await?;
        let loaded = self.connector.within(&PURPOSE, open.load(wanted)).await?;
        Ok((open, loaded))
    }

    async fn connect(&self) -> Result<PreparedSession, StoreError> {
        let session = self.connector.connect(&PURPOSE).await?;
        Ok(self
            .connector
            .within(&PURPOSE, PreparedSession::prepare(session))
            .await?)
    }

    /// Returns the batch of an organization, or `None` for an unknown one.
    fn batch(&self, loaded: &Loaded, jobs: &OrgJobs) -> Result<Option<Batch>, StoreError> {
        let (heads, cells) = loaded;
        let failed = |error: Error| self.connector.failed(&error);
        let mut head = None;
        for row in heads {
            if row.try_get::<_, &str>(4).map_err(failed)? == jobs.org.as_str() {
                head = Some(head_of(self.connector, row)?);
            }
        }
        let Some(head) = head else {
            return Ok(None);
        };
        let keys: Keys = jobs.reads().map(|key| (key.to_bytes(), key)).collect();
        let mut known = Vec::with_capacity(keys.len());
        for row in cells {
            if row.try_get::<_, &str>(0).map_err(failed)? != jobs.org.as_str() {
                continue;
            }
            let (key, value) = (row.try_get(1), row.try_get(2));
            let (key, value): (&[u8], &str) = (key.map_err(failed)?, value.map_err(failed)?);
            let cell: Cell = serde_json::from_str(value).map_err(|error| {
                // Without the error's text, which may contain a caller's values.
                let (line, column) = (error.line(), error.column());
                let place = format_args!("an entry cannot be read at {line}:{column}");
                self.connector.refused(place)
            })?;
            known.extend(keys.get(key).map(|key| (*key, cell)));
        }
        Ok(Some(Batch::new(head, known)))
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

/// The heads and cells that a transaction loads, column by column.
struct Wanted {
    orgs: Vec<OrgId>,
    cells: Vec<(OrgId, [u8; 33])>,
}

impl Wanted {
    fn by(orgs: &[OrgJobs]) -> Self {
        let cells: BTreeSet<_> = orgs
            .iter()
            .flat_map(|jobs| jobs.reads().map(|key| (jobs.org.clone(), key.to_bytes())))
            .collect();
        Self {
            orgs: orgs.iter().map(|jobs| jobs.org.clone()).collect(),
            cells: cells.into_iter().collect(),
        }
    }
}

impl PreparedSession {
    async fn prepare(session: Session) -> Result<Self, Error> {
        let client = &session.client;
        let (heads, cells, append) = try_join3(
            client.prepare(HEADS),
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
            heads,
            cells,
            append,
            keep,
            forget,
            advance,
        })
    }

    /// The first round trip: locks the heads, and then reads the cells as they are under the lock.
    async fn load(&self, wanted: &Wanted) -> Result<Loaded, Error> {
        let client = &self.session.client;
        let heads: Vec<&str> = wanted.orgs.iter().map(OrgId::as_str).collect();
        let orgs: Vec<&str> = wanted.cells.iter().map(|(org, _)| org.as_str()).collect();
        let keys: Vec<&[u8]> = wanted.cells.iter().map(|(_, key)| key.as_slice()).collect();
        let ((), heads, cells) = try_join3(
            client.batch_execute(BEGIN),
            client.query(&self.heads, &[&heads]),
            client.query(&self.cells, &[&orgs, &keys]),
        )
        .await?;
        Ok((heads, cells))
    }

    /// The second round trip. A statement that fails aborts the transaction, so the `COMMIT` that
    /// was sent behind it acts as a `ROLLBACK`.
    async fn commit(&self, rows: &BatchRows<'_>) -> Result<(), Error> {
        let client = &self.session.client;
        let BatchRows {
            events,
            cells,
            heads,
            most,
        } = rows;
        try_join5(
            client.execute(
                &self.append,
                &[
                    &events.org,
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
                &[
                    &cells.org,
                    &cells.key,
                    &cells.value,
                    &cells.expires_at,
                    &cells.issued,
                ],
            ),
            client.execute(&self.forget, &[&heads.org, &heads.over, most]),
            client.execute(
                &self.advance,
                &[
                    &heads.org,
                    &heads.sequence,
                    &heads.hash,
                    &heads.time,
                    &heads.dropped,
                ],
            ),
            client.batch_execute("COMMIT"),
        )
        .await
        .map(drop)
    }
}

/// The rows that batches leave, column by column.
#[derive(Default)]
struct BatchRows<'a> {
    events: EventColumns<'a>,
    cells: CellColumns<'a>,
    heads: HeadColumns<'a>,
    /// How many expired cells of an organization are deleted at most: more than are added, so that
    /// a backlog shrinks.
    most: i64,
}

#[derive(Default)]
struct EventColumns<'a> {
    org: Vec<&'a str>,
    sequence: Vec<i64>,
    kind: Vec<String>,
    actor_id: Vec<Option<String>>,
    occurred_at: Vec<&'a str>,
    previous_hash: Vec<&'a str>,
    hash: Vec<&'a str>,
    payload: Vec<&'a str>,
}

#[derive(Default)]
struct CellColumns<'a> {
    org: Vec<&'a str>,
    key: Vec<Vec<u8>>,
    value: Vec<String>,
    expires_at: Vec<i64>,
    issued: Vec<Option<i64>>,
}

#[derive(Default)]
struct HeadColumns<'a> {
    org: Vec<&'a str>,
    sequence: Vec<i64>,
    hash: Vec<&'a str>,
    time: Vec<String>,
    dropped: Vec<i64>,
    /// Cells that expired before this time, in microseconds since 1970, are deleted.
    over: Vec<i64>,
}

impl<'a> BatchRows<'a> {
    fn from_batches(
        batches: &'a [(OrgId, Batch)],
        changes: usize,
    ) -> Result<Self, serde_json::Error> {
        let mut rows = Self {
            most: i64::try_from(2 * changes + 16).unwrap_or(i64::MAX),
            ..Self::default()
        };
        for (org, batch) in batches {
            rows.push(org.as_str(), batch)?;
        }
        Ok(rows)
    }

    fn push(&mut self, org: &'a str, batch: &'a Batch) -> Result<(), serde_json::Error> {
        let Self {
            events,
            cells,
            heads,
            ..
        } = self;
        for event in batch.events() {
            events.org.push(org);
            events.sequence.push(signed(event.sequence));
            events.kind.push(to_text(&event.kind));
            events.actor_id.push(event.actor_id.as_deref().map(to_text));
            events.occurred_at.push(&event.occurred_at);
            events.previous_hash.push(&event.previous_hash);
            events.hash.push(&event.hash);
            events.payload.push(&event.payload);
        }
        for (key, cell) in batch.cells() {
            cells.org.push(org);
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
        heads.org.push(org);
        heads.sequence.push(signed(head.sequence));
        heads.hash.push(&head.hash);
        heads.time.push(head.time.to_string());
        heads.dropped.push(batch.dropped().map_or(0, signed));
        heads
            .over
            .push(over.map_or(i64::MIN, |over| over.as_microsecond()));
        Ok(())
    }
}
