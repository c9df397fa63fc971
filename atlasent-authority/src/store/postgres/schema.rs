//! The tables, and their migration from earlier versions.

mod script;

use std::time::Duration;

use super::connector::{Connector, Purpose};
use super::session::Session;
use super::url::Isolation;
use crate::store::StoreError;
use crate::trail::chain::ChainHead;

/// The migration from each version to the next one. Released ones never change.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
];

/// Indexing a long trail takes a while.
pub(super) const PURPOSE: Purpose = Purpose {
    settings: "SET LOCAL synchronous_commit = on",
    answer: Duration::from_secs(1_800),
};

/// The advisory lock of migrations: of several processes that start at once, one migrates.
const LOCK: i64 = 0x61746C_6173656E;

/// Migrates the tables to this version.
pub(super) async fn migrate(
    connector: &Connector,
    purpose: &Purpose,
    session: &Session,
) -> Result<(), StoreError> {
    let client = &session.client;
    let encoding = connector.within(
        purpose,
        client.query_one_scalar("SHOW server_encoding", &[]),
    );
    let encoding: String = encoding.await?;
    if encoding != "UTF8" {
        return Err(connector.refused(format_args!(
            "its texts are in `{encoding}`: create a database with the encoding `UTF8`"
        )));
    }
    while !is_current(connector, purpose, session).await? {
        let result = step(connector, session).await;
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = connector.within(&PURPOSE, client.batch_execute(end)).await;
        result?;
        ended?;
    }
    Ok(())
}

/// Returns whether the tables are of this version. Then the user of the url needs no right to
/// create tables.
async fn is_current(
    connector: &Connector,
    purpose: &Purpose,
    session: &Session,
) -> Result<bool, StoreError> {
    let client = &session.client;
    let look = async {
        let exists = "SELECT to_regclass('atlasent_schema') IS NOT NULL";
        if !client.query_one_scalar(exists, &[]).await? {
            return Ok(0);
        }
        let version = "SELECT coalesce(max(version), 0) FROM atlasent_schema";
        client.query_one_scalar::<i32>(version, &[]).await
    };
    let version = connector.within(purpose, look).await?;
    let newest = MIGRATIONS.len();
    match usize::try_from(version) {
        Ok(version) if version <= newest => Ok(version == newest),
        _ => Err(connector.refused(format_args!(
            "its tables have version {version}, and this program supports versions up to {newest}: update it"
        ))),
    }
}

/// Runs the next migration, in a transaction that the caller ends. Does nothing if another process
/// was faster.
async fn step(connector: &Connector, session: &Session) -> Result<(), StoreError> {
    let client = &session.client;
    let work = async {
        // Under any other isolation, the version would be read as it was before the wait.
        let begin = connector.begin(Isolation::ReadCommitted, &PURPOSE);
        let begin = format!(
            "{begin}; SELECT pg_advisory_xact_lock({LOCK}); \
             CREATE TABLE IF NOT EXISTS atlasent_schema (version integer PRIMARY KEY);"
        );
        client.batch_execute(&begin).await?;
        let version = "SELECT coalesce(max(version), 0) FROM atlasent_schema";
        let version: i32 = client.query_one_scalar(version, &[]).await?;
        let Some(migration) = usize::try_from(version)
            .ok()
            .and_then(|at| MIGRATIONS.get(at))
        else {
            return Ok(());
        };
        client.batch_execute(migration).await?;
        if version == 0 {
            let head = ChainHead::genesis("local");
            let insert =
                "INSERT INTO atlasent_head (org_id, sequence, hash, time) VALUES ($1, 0, $2, $3)";
            let time = head.time.to_string();
            client
                .execute(insert, &[&&*head.org_id, &&*head.hash, &time])
                .await?;
        }
        let insert = "INSERT INTO atlasent_schema (version) VALUES ($1)";
        client.execute(insert, &[&(version + 1)]).await?;
        Ok(())
    };
    Ok(connector.within(&PURPOSE, work).await?)
}
