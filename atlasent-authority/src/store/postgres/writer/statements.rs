//! The statements of a transaction, on their connection.

use futures_util::future::{join4, join5, try_join3};
use tokio_postgres::{Error, Row};

use super::batch_rows::{BatchRows, ForgetColumns};
use super::loaded::Wanted;
use crate::store::OrgId;
use crate::store::postgres::connector::BY_KEY;
use crate::store::postgres::session::{Parameter, Query, Session};

const HEADS: &str = "\
    SELECT org_id, sequence, hash, time, org, dropped FROM atlasent_head WHERE org = ANY($1::text[]) \
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
    INSERT INTO atlasent_cells (org, key, value, expires_at, issued, opened, closed) \
    SELECT * FROM unnest( \
        $1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[]) \
    ON CONFLICT (org, key) DO UPDATE \
        SET value = excluded.value, expires_at = excluded.expires_at, closed = excluded.closed";

/// Deletes expired cells of the organizations whose heads are locked: no other process writes
/// these. The array makes the planner look each key up, also where the table is large.
const FORGET: &str = "\
    DELETE FROM atlasent_cells AS cell USING unnest($1::text[], $2::bigint[]) AS past (org, time) \
    WHERE cell.org = past.org AND cell.key = ANY (ARRAY( \
        SELECT old.key FROM atlasent_cells AS old \
        WHERE old.org = past.org AND old.expires_at <= past.time \
        ORDER BY old.expires_at LIMIT $3::bigint))";
const ADVANCE: &str = "\
    UPDATE atlasent_head AS head SET org_id = new.org_id, sequence = new.sequence, hash = new.hash, \
        time = new.time, dropped = greatest(head.dropped, least(new.dropped, new.sequence)) \
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[]) \
        AS new (org, org_id, sequence, hash, time, dropped) \
    WHERE head.org = new.org";

/// Deletes rows of dropped events: few at a time, so that no change waits long.
const SWEEP: &str = "\
    DELETE FROM atlasent_events WHERE (org, sequence) IN ( \
        SELECT event.org, event.sequence FROM atlasent_head AS head, LATERAL ( \
            SELECT org, sequence FROM atlasent_events \
            WHERE org = head.org AND sequence <= head.dropped \
            ORDER BY sequence LIMIT 1000 FOR UPDATE SKIP LOCKED) AS event \
        WHERE head.dropped > 0 LIMIT 1000)";

/// A connection with its statements.
pub(super) struct Statements {
    session: Session,
    heads: Query,
    cells: Query,
    append: Query,
    keep: Query,
    forget: Query,
    advance: Query,
}

impl Statements {
    /// Prepares the statements.
    pub(super) async fn prepare(session: Session) -> Result<Self, Error> {
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
    /// Returns the rows of both.
    pub(super) async fn load(&self, wanted: &Wanted) -> Result<(Vec<Row>, Vec<Row>), Error> {
        let client = &self.session.client;
        let heads: Vec<&str> = wanted.orgs.iter().map(OrgId::as_str).collect();
        let orgs: Vec<&str> = wanted.cells.iter().map(|(org, _)| org.as_str()).collect();
        let keys: Vec<&[u8]> = wanted.cells.iter().map(|(_, key)| key.as_slice()).collect();
        let (begun, by_key, heads, cells) = join4(
            self.session.begin(),
            // For a small table the server would plan to read all of it, and go on doing so when
            // the table has grown, until it is analyzed.
            client.batch_execute(BY_KEY),
            client.query(&self.heads, &[&heads]),
            client.query(&self.cells, &[&orgs, &keys]),
        )
        .await;
        begun.and(by_key)?;
        Ok((heads?, cells?))
    }

    /// The second round trip. A statement that fails aborts the transaction, so the `COMMIT` that
    /// was sent behind it acts as a `ROLLBACK`: the transaction is over in any case.
    pub(super) async fn commit(&self, rows: &BatchRows<'_>) -> Result<(), Error> {
        let client = &self.session.client;
        let BatchRows {
            events,
            cells,
            heads,
            forget,
        } = rows;
        let (appended, kept, forgotten, advanced, committed) = join5(
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
                    &cells.opened,
                    &cells.closed,
                ],
            ),
            self.forget(forget),
            client.execute(
                &self.advance,
                &[
                    &heads.org,
                    &heads.org_id,
                    &heads.sequence,
                    &heads.hash,
                    &heads.time,
                    &heads.dropped,
                ],
            ),
            client.batch_execute("COMMIT"),
        )
        .await;
        // The first error is the cause of those behind it.
        appended.and(kept).and(forgotten).and(advanced)?;
        committed
    }

    async fn forget(&self, columns: &ForgetColumns<'_>) -> Result<u64, Error> {
        if columns.org.is_empty() {
            return Ok(0);
        }
        let client = &self.session.client;
        let parameters: [&dyn Parameter; 3] = [&columns.org, &columns.over, &columns.most];
        client.execute(&self.forget, &parameters).await
    }

    /// Ends the transaction without keeping anything.
    pub(super) async fn rollback(&self) -> Result<(), Error> {
        self.session.client.batch_execute("ROLLBACK").await
    }

    /// Deletes some rows of dropped events. Returns how many.
    pub(super) async fn sweep(&self) -> Result<u64, Error> {
        let swept = self.session.client.execute(SWEEP, &[]);
        self.session.at_once(swept).await
    }
}
