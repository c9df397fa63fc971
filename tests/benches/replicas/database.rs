//! The database: what it has committed, what it waits for, and what it computes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

/// How often the database is asked what its connections are waiting for.
const PERIOD: Duration = Duration::from_millis(10);

/// What the connections inside a transaction are waiting for. `Client` is the time between both
/// round trips, in which a server runs its changes while it holds the head's row.
const ACTIVITY: &str = "\
    SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU') FROM pg_stat_activity \
    WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";

/// The transactions that have extended the chain: each updates its head once.
const COMMITS: &str = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'atlasent_head'";

/// What the connections of a database waited for, while it was watched.
#[derive(Debug, Default)]
pub(super) struct Waits {
    samples: BTreeMap<String, u64>,
}

impl Waits {
    /// Describes the waits, the most frequent one first.
    pub(super) fn shares(&self) -> String {
        let all: u64 = self.samples.values().sum();
        let mut samples: Vec<_> = self.samples.iter().collect();
        samples.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let shares = samples.iter().map(|(name, count)| {
            let share = 100.0 * **count as f64 / all as f64;
            format!("{name} {share:.0} %")
        });
        shares.take(4).collect::<Vec<_>>().join(", ")
    }
}

/// Watches a database until it is told to stop.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Waits, i64)>,
}

impl Watch {
    pub(super) fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (url.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(watch(&url, &stopped))
        });
        Self { stop, thread }
    }

    /// Returns the waits, and the number of commits.
    pub(super) fn finish(self) -> (Waits, i64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn watch(url: &str, stop: &AtomicBool) -> (Waits, i64) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let before = commits(&client).await;
    let mut waits = Waits::default();
    while !stop.load(Ordering::Relaxed) {
        for row in client.query(ACTIVITY, &[]).await.unwrap() {
            *waits.samples.entry(row.get(0)).or_default() += 1;
        }
        tokio::time::sleep(PERIOD).await;
    }
    // A backend reports its commits when it has been idle for a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let after = commits(&client).await;
    (waits, after - before)
}

async fn commits(client: &Client) -> i64 {
    client.query_one(COMMITS, &[]).await.unwrap().get(0)
}

/// Returns the processor time of all processes of the servers whose data is in a folder, where the
/// system reports it. Processes that have ended are missing.
pub(super) fn computed(folder: &Path) -> Option<Duration> {
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let process = entry.ok()?.path();
        let data = std::fs::read_link(process.join("cwd")).ok()?;
        data.starts_with(folder)
            .then(|| crate::process::processor_time(&process))?
    });
    Some(processes.sum())
}
