//! The tables, and how a database gets them.

use tokio_postgres::{Client, Error};

use crate::chain::ChainHead;

/// Each step from one version of the tables to the next. Those that were released stay as they are.
const STEPS: [&str; 1] = ["
    -- One row: the end of the chain. Whoever changes anything holds its lock, which is what gives the chain one order.
    CREATE TABLE atlasent_head (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        head text NOT NULL,
        dropped bigint NOT NULL DEFAULT 0
    );
    -- Payloads are text, for the hash is over the text. Agents are bytes: their names may hold any character.
    CREATE TABLE atlasent_events (
        sequence bigint PRIMARY KEY,
        kind text NOT NULL,
        actor_id bytea,
        occurred_at text COLLATE \"C\" NOT NULL,
        previous_hash text NOT NULL,
        hash text NOT NULL,
        payload text NOT NULL
    );
    CREATE INDEX atlasent_events_by_kind ON atlasent_events (kind, sequence);
    CREATE INDEX atlasent_events_by_actor ON atlasent_events (actor_id, sequence);
    CREATE INDEX atlasent_events_by_time ON atlasent_events (occurred_at);
    CREATE TABLE atlasent_cells (
        key bytea PRIMARY KEY,
        value text NOT NULL,
        expires_at bigint NOT NULL
    );
    CREATE INDEX atlasent_cells_by_expiry ON atlasent_cells (expires_at);
    -- Counts need not survive a crash, so they are not logged.
    CREATE UNLOGGED TABLE atlasent_calls (
        counter text PRIMARY KEY,
        minute bigint NOT NULL,
        count bigint NOT NULL
    );
    CREATE TABLE atlasent_api_keys (
        key_id text PRIMARY KEY,
        key text NOT NULL,
        created_at bigint NOT NULL
    );
"];

/// Any number that nobody else takes for a lock.
const LOCK: i64 = 0x6174_6c61_7365_6e74;

/// Brings the tables to the version that this program knows. Those who start at the same time wait for each other.
///
/// Says which version it found if that is a newer one.
pub(super) async fn migrate(client: &mut Client) -> Result<Result<(), i32>, Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS atlasent_schema (version integer NOT NULL)")
        .await?;
    let found = transaction
        .query_opt("SELECT version FROM atlasent_schema", &[])
        .await?;
    let found: i32 = found.map_or(0, |row| row.get(0));
    let known = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    if found > known {
        return Ok(Err(found));
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(step).await?;
    }
    if found == 0 {
        let head = serde_json::to_string(&ChainHead::genesis("local")).unwrap_or_default();
        transaction
            .execute("INSERT INTO atlasent_head (head) VALUES ($1)", &[&head])
            .await?;
        transaction
            .execute(
                "INSERT INTO atlasent_schema (version) VALUES ($1)",
                &[&known],
            )
            .await?;
    } else {
        transaction
            .execute("UPDATE atlasent_schema SET version = $1", &[&known])
            .await?;
    }
    transaction.commit().await?;
    Ok(Ok(()))
}
