//! What chains carry: servers that share a PostgreSQL database, whose commits take time.
//!
//! The database has a synchronous standby behind a link that delays what is sent through it. So a
//! commit lasts as long as the link's round trip, and holds the lock of the chain's head meanwhile,
//! as it does where a database has its standby in another place.
//!
//! Each server runs in a process of its own; the client has one thread here. All of them and the
//! database share the processors of one machine, so what more servers add can be seen only while
//! the processors are not busy.
//!
//! - `commits/s` counts the transactions that extend the chain, so one divided by it is how long the
//!   head's lock is held, once servers wait for it.
//! - `changes` is the size of a transaction: a pair is two changes, which may share it.
//! - `CPU` is what the servers, and the database with its standby, have computed for a pair.
//! - `waiting` is what the database's connections were doing inside of transactions:
//!   `Lock:transactionid` and `Lock:tuple` wait for the head's row, `IPC:SyncRep` for the standby,
//!   `Client:ClientRead` for a server between its two round trips, `IO:WALSync` for the disk.
//!
//! | variable | default | |
//! |---|---|---|
//! | `ATLASENT_BENCH_LATENCY` | `0,1,5,20` | how long commits take, in milliseconds; 0 is no standby |
//! | `ATLASENT_BENCH_REPLICAS` | `1,2,4` | how many servers there are |
//! | `ATLASENT_BENCH_ORGANIZATIONS` | `1` | how many organizations there are, each with a chain of its own and at one server |
//! | `ATLASENT_BENCH_CONNECTIONS` | `64` | how many connections each organization has |
//! | `ATLASENT_BENCH_SECONDS` | 5 | how long each measurement takes |
//!
//! Without `--bench`, as in `cargo test --benches`, one row is measured for a moment only, to see
//! that it runs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

mod database;
mod link;

#[path = "../../../atlasent-authority/benches/serve/load.rs"]
mod load;
#[path = "../../../atlasent-authority/benches/serve/process.rs"]
mod process;
#[path = "../../../atlasent-authority/benches/serve/question.rs"]
mod question;

use std::env;
use std::time::Duration;

use atlasent_authority::PostgresStore;
use atlasent_tests::postgres::PrivatePostgres;
use database::Watch;
use load::Load;
use process::{DATABASE, Running, serve};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if arguments
        .first()
        .is_some_and(|argument| argument == "--serve")
    {
        let address = env::var(DATABASE).unwrap();
        let store = runtime.block_on(PostgresStore::connect(&address)).unwrap();
        return runtime.block_on(serve(store));
    }
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let list = |variable, default, quick| {
        if measures {
            list(variable, default)
        } else {
            quick
        }
    };
    let seconds = env::var("ATLASENT_BENCH_SECONDS").map_or(5.0, |text| text.parse().unwrap());
    println!(
        "| commits take | organizations | servers | connections | pairs/s | p50 | p99 | commits/s | changes | \
         CPU: servers | database | waiting |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for latency in list("ATLASENT_BENCH_LATENCY", "0,1,5,20", vec![1]) {
        let Some(database) = PrivatePostgres::start(&[], &[]) else {
            return;
        };
        let latency = Duration::from_millis(latency);
        if latency > Duration::ZERO {
            let link = link::open(database.folder(), latency);
            runtime.block_on(database.standby(&link));
        }
        let organizations = list("ATLASENT_BENCH_ORGANIZATIONS", "1", vec![2]);
        let connections = list("ATLASENT_BENCH_CONNECTIONS", "64", vec![4]);
        let each = |organizations: &u64| {
            connections
                .iter()
                .map(|each| (*organizations, *each))
                .collect::<Vec<_>>()
        };
        for (organizations, connections) in organizations.iter().flat_map(each) {
            let organizations = usize::try_from(organizations).unwrap();
            let load = Load {
                connections: organizations * usize::try_from(connections).unwrap(),
                // One organization is `local`, whose connections all servers share.
                organizations: if organizations > 1 { organizations } else { 0 },
                warm_up: Duration::from_millis(if measures { 1_000 } else { 0 }),
                measured: Duration::from_secs_f64(if measures { seconds } else { 0.1 }),
            };
            for servers in list("ATLASENT_BENCH_REPLICAS", "1,2,4", vec![2]) {
                let url = runtime.block_on(database.database());
                println!("{}", measure(&database, &url, latency, servers, load));
            }
        }
    }
}

/// Measures a number of servers on a fresh database, and returns the row.
fn measure(
    database: &PrivatePostgres,
    url: &str,
    latency: Duration,
    servers: u64,
    load: Load,
) -> String {
    let running: Vec<_> = (0..servers)
        .map(|_| Running::start("postgres", Some(url), load.organizations))
        .collect();
    let addresses: Vec<_> = running.iter().map(|server| server.address).collect();
    let computed = || {
        let servers: Option<Duration> = running.iter().map(Running::computed).sum();
        Some((servers?, database::computed(database.folder())?))
    };
    let watch = Watch::start(url);
    let before = computed();
    let pairs = load.run(&addresses);
    let after = computed();
    let (waits, commits) = watch.finish();

    let lasted = (load.warm_up + load.measured).as_secs_f64();
    let count = pairs.per_second() * lasted;
    let each = |time: Duration| format!("{:.0?}", time.div_f64(count.max(1.0)));
    let (of_servers, of_database) = before.zip(after).map_or_else(Default::default, |(b, a)| {
        (each(a.0.saturating_sub(b.0)), each(a.1.saturating_sub(b.1)))
    });
    format!(
        "| {latency:?} | {} | {servers} | {} | {:.0} | {:.1?} | {:.1?} | {:.0} | {:.1} | {of_servers} | {of_database} | {} |",
        load.organizations.max(1),
        load.connections,
        pairs.per_second(),
        pairs.within(0.5),
        pairs.within(0.99),
        commits as f64 / lasted,
        2.0 * count / commits as f64,
        waits.shares(),
    )
}

fn list(variable: &str, default: &str) -> Vec<u64> {
    let list = env::var(variable).unwrap_or_else(|_| default.to_owned());
    list.split(',')
        .map(|item| item.trim().parse().unwrap())
        .collect()
}
