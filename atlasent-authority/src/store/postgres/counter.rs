//! Counts of calls, over all processes. Those that come at the same time go into one statement.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::connection::Address;
use crate::store::StoreError;

/// One call to count, and whoever waits for its number.
pub(super) struct Call {
    pub(super) counter: String,
    pub(super) minute: i64,
    pub(super) done: oneshot::Sender<Result<u64, StoreError>>,
}

/// Counts until nobody calls any more.
pub(super) async fn count(address: Address, mut calls: mpsc::Receiver<Call>) {
    let mut connection = None;
    while let Some(first) = calls.recv().await {
        let mut together = vec![first];
        while let Ok(call) = calls.try_recv() {
            together.push(call);
        }
        match count_all(&address, &mut connection, &together).await {
            Ok(mut counts) => {
                for call in together {
                    // Each of the calls counted together has a number of its own, from the first to the last.
                    let number = counts.get_mut(&call.counter).map(|next| {
                        *next += 1;
                        *next
                    });
                    let number = number.ok_or_else(|| address.explain("it has lost a count"));
                    let _ = call.done.send(number);
                }
            }
            Err(error) => {
                connection = None;
                for call in together {
                    let _ = call.done.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Counts all, and says for each counter how many calls there were before these.
async fn count_all(
    address: &Address,
    connection: &mut Option<Counter>,
    calls: &[Call],
) -> Result<BTreeMap<String, u64>, StoreError> {
    let failed = |error: Error| address.failed(&error);
    let counter = match connection.take().filter(|known| !known.client.is_closed()) {
        Some(counter) => connection.insert(counter),
        None => {
            let client = address.connect().await?;
            connection.insert(Counter::prepare(client).await.map_err(failed)?)
        }
    };
    counter.add(calls).await.map_err(failed)
}

struct Counter {
    client: Client,
    add: Statement,
}

impl Counter {
    async fn prepare(client: Client) -> Result<Self, Error> {
        client.batch_execute("SET synchronous_commit = off").await?;
        // A clock that is behind must not give back what was used up, so the newest minute goes on.
        let add = client
            .prepare(
                "INSERT INTO atlasent_calls AS known (counter, minute, count)
                 SELECT * FROM unnest ($1::text[], $2::bigint[], $3::bigint[])
                 ON CONFLICT (counter) DO UPDATE SET
                     count = excluded.count + CASE WHEN excluded.minute > known.minute THEN 0 ELSE known.count END,
                     minute = GREATEST(known.minute, excluded.minute)
                 RETURNING counter, count",
            )
            .await?;
        Ok(Self { client, add })
    }

    async fn add(&self, calls: &[Call]) -> Result<BTreeMap<String, u64>, Error> {
        // In the order of the counters, so that two processes never wait for each other in a circle.
        let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for call in calls {
            let (minute, count) = sums.entry(&call.counter).or_insert((call.minute, 0));
            *minute = call.minute.max(*minute);
            *count += 1;
        }
        let counters: Vec<&str> = sums.keys().copied().collect();
        let minutes: Vec<i64> = sums.values().map(|(minute, _)| *minute).collect();
        let counts: Vec<i64> = sums.values().map(|(_, count)| *count).collect();
        let parameters: [&(dyn ToSql + Sync); 3] = [&counters, &minutes, &counts];
        let rows = self.client.query(&self.add, &parameters).await?;
        let before = rows.iter().map(|row| {
            let (counter, count): (&str, i64) = (row.get(0), row.get(1));
            let added = sums.get(counter).map_or(0, |(_, count)| *count);
            let before = u64::try_from(count - added).unwrap_or(0);
            (counter.to_owned(), before)
        });
        Ok(before.collect())
    }
}
