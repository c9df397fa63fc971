//! What a flood by one organization costs another one.
//!
//! A server in a process of its own (see `--bench serve`) has two organizations. One of them
//! evaluates and verifies over one connection, a pair every 10 ms: alone, and beside a flood by the
//! other one, over many connections as fast as they are answered. They take turns, two seconds
//! each. Each row has the median and the 99th percentile of the pairs, and how many times as long
//! as alone they take.
//!
//! `floor` answers the same requests from constants, without organizations: what the flood costs by
//! keeping the processors and the sockets busy, whatever the server does.
//!
//! | variable | default | |
//! |---|---|---|
//! | `ATLASENT_BENCH_SECONDS` | 10 | how long each measurement takes |
//! | `ATLASENT_BENCH_CONNECTIONS` | `64,256` | over how many connections the flood comes |
//! | `ATLASENT_BENCH_SERVERS` | `floor,memory,redb` | which servers are measured |
//!
//! Without `--bench`, as in `cargo test --benches`, all is run for a moment only.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

#[path = "../serve/floor.rs"]
mod floor;
#[path = "../serve/load.rs"]
#[expect(dead_code, reason = "`--bench serve` uses the rest")]
mod load;
#[path = "../serve/process.rs"]
#[expect(dead_code, reason = "`--bench serve` uses the rest")]
mod process;
#[path = "../serve/question.rs"]
mod question;
#[path = "../serve/server.rs"]
#[expect(dead_code, reason = "`--bench serve` uses the rest")]
mod server;

use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use load::ask;
use process::Running;
use server::Kind;
use tokio::runtime::Builder;

/// The organizations: the first one floods the server.
const FLOODING: usize = 0;
const MEASURED: usize = 1;

/// How often the measured organization begins a pair.
const PACE: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [serve, name] = &*arguments
        && serve == "--serve"
    {
        return Kind::named(name).unwrap().serve();
    }
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let seconds: f64 = match measures {
        true => setting("ATLASENT_BENCH_SECONDS", "10").parse().unwrap(),
        false => 0.1,
    };
    let connections = setting("ATLASENT_BENCH_CONNECTIONS", "64,256");
    let mut floods = vec![0];
    floods.extend(
        connections
            .split(',')
            .map(|text| text.trim().parse::<usize>().unwrap()),
    );
    println!("| server | flood | pairs/s | p50 | p99 | p50 of alone | p99 of alone |");
    println!("|---|---|---|---|---|---|---|");
    for name in setting("ATLASENT_BENCH_SERVERS", "floor,memory,redb").split(',') {
        let running = Running::start(Kind::named(name.trim()).unwrap().name(), None, 2);
        let rows = measure(running.address, &floods, Duration::from_secs_f64(seconds));
        let alone = &rows[0].times;
        for (row, connections) in rows.iter().zip(&floods) {
            let flood = match connections {
                0 => "none".to_owned(),
                connections => format!("{connections} connections"),
            };
            let [p50, p99] = [0.5, 0.99].map(|share| (within(&row.times, share), share));
            let of_alone = |(time, share): (Duration, f64)| {
                time.as_secs_f64() / within(alone, share).as_secs_f64()
            };
            println!(
                "| {name} | {flood} | {:.0} | {:.2?} | {:.2?} | {:.2} × | {:.2} × |",
                row.flooded as f64 / seconds,
                p50.0,
                p99.0,
                of_alone(p50),
                of_alone(p99),
            );
        }
    }
}

/// What was measured beside one flood.
#[derive(Default)]
struct Row {
    /// The durations of the measured pairs, shortest first.
    times: Vec<Duration>,
    /// How many pairs the flood got.
    flooded: usize,
}

/// Measures pairs beside each flood, by turns, for so long in all.
fn measure(server: SocketAddr, floods: &[usize], time: Duration) -> Vec<Row> {
    // Both organizations load their policies.
    run(server, 2, time / 10);
    let mut rows: Vec<Row> = floods.iter().map(|_| Row::default()).collect();
    let turns = (time.as_secs() / 2).max(1);
    for _ in 0..turns {
        for (row, connections) in rows.iter_mut().zip(floods) {
            let (times, flooded) = run(server, *connections, time / turns as u32);
            row.times.extend(times);
            row.flooded += flooded;
        }
    }
    for row in &mut rows {
        row.times.sort_unstable();
    }
    rows
}

/// Runs both organizations, on a thread each. Returns the durations of the pairs of the measured
/// one, and how many the other one got.
fn run(server: SocketAddr, flood: usize, time: Duration) -> (Vec<Duration>, usize) {
    // The flood is there before the first pair that counts, and until after the last one.
    let begin = Instant::now() + time / 4;
    let end = begin + time;
    let flooding = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connections: Vec<_> = (0..flood)
                .map(|_| tokio::spawn(ask(server, vec![FLOODING], None, (begin, end))))
                .collect();
            let mut pairs = 0;
            for connection in connections {
                pairs += connection.await.unwrap().len();
            }
            pairs
        })
    });
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let times = runtime.block_on(ask(server, vec![MEASURED], Some(PACE), (begin, end)));
    (times, flooding.join().unwrap())
}

/// Returns the duration within which this share of the pairs ended.
fn within(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}
