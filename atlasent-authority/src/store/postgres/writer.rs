//! The one who changes: all changes that wait go into one transaction, which holds the lock on the end of the chain.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::{try_join3, try_join4};
use serde::de::DeserializeOwned;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::connection::Address;
use crate::store::group::{self, Job, Jobs};
use crate::store::{Batch, Cell, CellKey, REMEMBERED, StoreError};

/// How many cells whose time is over are forgotten at once, and how often.
const FORGOTTEN: i64 = 10_000;
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Makes changes until nobody brings any more.
pub(super) async fn write(address: Address, mut jobs: Jobs) {
    let mut connection = None;
    while let Some(mut jobs) = jobs.next().await {
        let result = keep(&address, &mut connection, &mut jobs).await;
        if result.is_err() {
            // Whatever is half done there is undone when the connection goes.
            connection = None;
        }
        group::answer(jobs, &result);
    }
}

async fn keep(
    address: &Address,
    connection: &mut Option<Writer>,
    jobs: &mut [Job],
) -> Result<(), StoreError> {
    let writer = match connection
        .take()
        .filter(|writer| !writer.client.is_closed())
    {
        Some(writer) => connection.insert(writer),
        None => {
            let client = address.connect().await?;
            let prepared = Writer::prepare(client).await;
            connection.insert(prepared.map_err(|error| address.failed(&error))?)
        }
    };
    let failed = |error: Error| address.failed(&error);
    let reads: Vec<_> = group::reads(jobs).collect();
    let mut batch = writer.begin(reads).await.map_err(failed)??;
    group::run(jobs, &mut batch)?;
    let cells = Cells::of(&batch)?;
    let head = serde_json::to_string(batch.head()).map_err(StoreError::failed)?;
    writer.commit(&batch, &cells, &head).await.map_err(failed)
}

/// A connection, with all that it says prepared.
struct Writer {
    client: Client,
    head: Statement,
    cells: Statement,
    insert_events: Statement,
    upsert_cells: Statement,
    update_head: Statement,
    drop_events: Statement,
    forget: Statement,
    forgot: Instant,
}

impl Writer {
    async fn prepare(client: Client) -> Result<Self, Error> {
        Ok(Self {
            head: client
                .prepare("SELECT head FROM atlasent_head FOR UPDATE")
                .await?,
            cells: client
                .prepare("SELECT key, value FROM atlasent_cells WHERE key = ANY($1)")
                .await?,
            insert_events: client
                .prepare(
                    "INSERT INTO atlasent_events
                         (sequence, kind, actor_id, occurred_at, previous_hash, hash, payload)
                     SELECT * FROM unnest
                         ($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[])",
                )
                .await?,
            upsert_cells: client
                .prepare(
                    "INSERT INTO atlasent_cells (key, value, expires_at)
                     SELECT * FROM unnest ($1::bytea[], $2::text[], $3::bigint[])
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
                )
                .await?,
            update_head: client
                .prepare("UPDATE atlasent_head SET head = $1, dropped = GREATEST(dropped, $2)")
                .await?,
            drop_events: client
                .prepare("DELETE FROM atlasent_events WHERE sequence <= $1")
                .await?,
            forget: client
                .prepare(
                    "DELETE FROM atlasent_cells WHERE key IN
                         (SELECT key FROM atlasent_cells WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
                )
                .await?,
            forgot: Instant::now(),
            client,
        })
    }

    /// Takes the lock on the end of the chain, and reads what the changes name: in one round trip, for the server answers
    /// one after the other.
    async fn begin(&self, reads: Vec<CellKey>) -> Result<Result<Batch, StoreError>, Error> {
        let keys: HashMap<[u8; 33], CellKey> =
            reads.iter().map(|key| (key.to_bytes(), *key)).collect();
        let names: Vec<&[u8]> = keys.keys().map(<[u8; 33]>::as_slice).collect();
        let names: [&(dyn ToSql + Sync); 1] = [&names];
        let ((), head, cells) = try_join3(
            self.client.batch_execute("BEGIN"),
            self.client.query_one(&self.head, &[]),
            self.client.query(&self.cells, &names),
        )
        .await?;
        Ok(batch(&keys, &head, &cells))
    }

    /// Keeps what the changes left. It is kept when this has come back without an error; with one, nobody knows.
    async fn commit(&mut self, batch: &Batch, cells: &Cells, head: &str) -> Result<(), Error> {
        if batch.is_empty() {
            return self.client.batch_execute("ROLLBACK").await;
        }
        let events = Events::of(batch);
        let dropped = batch.dropped().map_or(0, as_bigint);
        let events = events.parameters();
        let cells = cells.parameters();
        let update: [&(dyn ToSql + Sync); 2] = [&head, &dropped];
        if batch.dropped().is_some() {
            self.client.execute(&self.drop_events, &[&dropped]).await?;
        }
        if self.forgot.elapsed() >= FORGET_EVERY
            && let Ok(over) = batch.head().time.checked_sub(REMEMBERED)
        {
            let over = over.as_microsecond();
            self.client
                .execute(&self.forget, &[&over, &FORGOTTEN])
                .await?;
            self.forgot = Instant::now();
        }
        // In one round trip. If one of the first three fails, the last one undoes it all.
        try_join4(
            self.client.execute(&self.insert_events, &events),
            self.client.execute(&self.upsert_cells, &cells),
            self.client.execute(&self.update_head, &update),
            self.client.batch_execute("COMMIT"),
        )
        .await
        .map(drop)
    }
}

fn batch(
    keys: &HashMap<[u8; 33], CellKey>,
    head: &Row,
    cells: &[Row],
) -> Result<Batch, StoreError> {
    let mut known = Vec::with_capacity(cells.len());
    for row in cells {
        let name: &[u8] = row.get(0);
        if let Some(key) = <[u8; 33]>::try_from(name)
            .ok()
            .and_then(|name| keys.get(&name))
        {
            known.push((*key, parse::<Cell>(row.get(1))?));
        }
    }
    Ok(Batch::new(parse(head.get(0))?, known))
}

pub(super) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::failed(format!("an entry cannot be read: {error}")))
}

pub(super) fn as_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Events, column by column.
#[derive(Default)]
struct Events<'a> {
    sequence: Vec<i64>,
    kind: Vec<&'a str>,
    actor_id: Vec<Option<&'a [u8]>>,
    occurred_at: Vec<&'a str>,
    previous_hash: Vec<&'a str>,
    hash: Vec<&'a str>,
    payload: Vec<&'a str>,
}

impl<'a> Events<'a> {
    fn of(batch: &'a Batch) -> Self {
        let mut columns = Self::default();
        for event in batch.events() {
            columns.sequence.push(as_bigint(event.sequence));
            columns.kind.push(&event.kind);
            columns
                .actor_id
                .push(event.actor_id.as_deref().map(str::as_bytes));
            columns.occurred_at.push(&event.occurred_at);
            columns.previous_hash.push(&event.previous_hash);
            columns.hash.push(&event.hash);
            columns.payload.push(&event.payload);
        }
        columns
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.sequence,
            &self.kind,
            &self.actor_id,
            &self.occurred_at,
            &self.previous_hash,
            &self.hash,
            &self.payload,
        ]
    }
}

/// Cells, column by column.
#[derive(Default)]
struct Cells {
    key: Vec<Vec<u8>>,
    value: Vec<String>,
    expires_at: Vec<i64>,
}

impl Cells {
    fn of(batch: &Batch) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for (key, cell) in batch.cells() {
            columns.key.push(key.to_bytes().into());
            columns
                .value
                .push(serde_json::to_string(cell).map_err(StoreError::failed)?);
            columns.expires_at.push(cell.expires_at().as_microsecond());
        }
        Ok(columns)
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.key, &self.value, &self.expires_at]
    }
}
