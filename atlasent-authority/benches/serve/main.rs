//! The cost of the server: pairs of evaluate and verify per second, and the duration of a pair.
//!
//! Each server runs in a process of its own, which is this executable again, on a runtime with as
//! many threads as there are processors; the client has one thread here. So they share processors,
//! and nothing else. Each measurement has a fresh server, and those that are compared take turns.
//!
//! - `floor` answers the same two requests from constants, by the same libraries: what HTTP alone
//!   costs.
//! - `memory` and `redb` are the server on its stores, `redb` on a real disk, each answer after its
//!   `fsync`.
//! - `postgres` is the server on a database, and `replicas` two of them on the same one; where
//!   there is a database.
//! - `cedar` is the bare decision on the same policies, in one thread: no pair takes less.
//!
//! `of floor` is the share of the floor's pairs per second. Over many runs it holds still where the
//! numbers do not. `CPU` is what the server has computed for a pair (on Linux).
//!
//! | variable | default | |
//! |---|---|---|
//! | `ATLASENT_BENCH_SECONDS` | 3 | how long each measurement takes |
//! | `ATLASENT_BENCH_CONNECTIONS` | `1,8,64,256` | how many connections there are |
//! | `ATLASENT_BENCH_ORGANIZATIONS` | 0 | how many organizations ask, beside `local`; 0 for `local` alone |
//! | `ATLASENT_BENCH_POSTGRES` | | the address of a database to fill |
//! | `ATLASENT_BENCH_SERVERS` | all there can be | which servers are measured |
//! | `ATLASENT_BENCH_ROUNDS` | 1 | how often; the median by pairs per second is told |
//!
//! Without `--bench`, as in `cargo test --benches`, all is run for a moment only, to see that it
//! runs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

#[path = "../support/bare_cedar.rs"]
mod bare_cedar;
mod cedar;
mod floor;
mod load;
mod process;
mod question;
mod server;

use std::time::Duration;
use std::{env, fmt};

use load::{Load, Pairs};
use process::{DATABASE, ORGANIZATIONS, Running};
use server::Kind;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [serve, name] = &*arguments
        && serve == "--serve"
    {
        return Kind::named(name).unwrap().serve();
    }
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let decision = cedar::time_of_a_decision(if measures { 1_000 } else { 1 });
    println!("cedar alone: {decision:.1?} a decision\n");
    println!("{}", Row::HEAD);
    let organizations = list(ORGANIZATIONS, "0");
    let connections = list("ATLASENT_BENCH_CONNECTIONS", "1,8,64,256");
    for (organizations, connections) in organizations
        .iter()
        .flat_map(|one| connections.iter().map(move |other| (one, other)))
    {
        let organizations = organizations.parse().unwrap();
        let load = Load {
            connections: connections.parse().unwrap(),
            organizations,
            warm_up: match (measures, organizations) {
                (true, 0) => Duration::from_millis(500),
                // All of them load their policies.
                (true, _) => Duration::from_secs(3),
                (false, _) => Duration::ZERO,
            },
            measured: if measures {
                seconds()
            } else {
                Duration::from_millis(50)
            },
        };
        for row in measure(load) {
            println!("{row}");
        }
    }
}

/// Measures each server under the same load.
fn measure(load: Load) -> Vec<Row> {
    let kinds = match env::var_os(DATABASE) {
        Some(_) => "floor,memory,redb,postgres,replicas",
        None => "floor,memory,redb",
    };
    let kinds = list("ATLASENT_BENCH_SERVERS", kinds);
    let kinds: Vec<_> = kinds
        .iter()
        .map(|name| Kind::named(name).unwrap())
        .collect();
    let rounds = setting("ATLASENT_BENCH_ROUNDS", "1").parse().unwrap();
    let mut measured: Vec<Vec<Row>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (rows, kind) in measured.iter_mut().zip(&kinds) {
            rows.push(Row::measure(*kind, load));
        }
    }
    let mut rows: Vec<Row> = measured.into_iter().map(median).collect();
    let floor = rows.iter().find(|row| row.kind == Kind::Floor);
    let floor = floor.map(|floor| floor.pairs.per_second());
    for row in &mut rows {
        row.of_floor = floor.map(|floor| row.pairs.per_second() / floor);
    }
    rows
}

fn median(mut rows: Vec<Row>) -> Row {
    rows.sort_by(|a, b| a.pairs.per_second().total_cmp(&b.pairs.per_second()));
    rows.swap_remove(rows.len() / 2)
}

struct Row {
    kind: Kind,
    load: Load,
    pairs: Pairs,
    of_floor: Option<f64>,
    computed: Option<Duration>,
}

impl Row {
    const HEAD: &str = "| server | organizations | connections | pairs/s | of floor | p50 | p99 | CPU |\n|---|---|---|---|---|---|---|---|";

    fn measure(kind: Kind, load: Load) -> Self {
        let running: Vec<_> = (0..kind.processes())
            .map(|_| Running::start(kind.name(), None, load.organizations))
            .collect();
        let addresses: Vec<_> = running.iter().map(|server| server.address).collect();
        let computed = || {
            running
                .iter()
                .map(Running::computed)
                .sum::<Option<Duration>>()
        };
        let before = computed();
        let pairs = load.run(&addresses);
        let after = computed();
        let share = load.measured.as_secs_f64() / (load.measured + load.warm_up).as_secs_f64();
        let count = pairs.per_second() * load.measured.as_secs_f64() / share;
        let computed = after.zip(before).map(|(after, before)| after - before);
        Self {
            kind,
            load,
            of_floor: None,
            computed: computed.map(|computed| computed.div_f64(count.max(1.0))),
            pairs,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_floor = self.of_floor.map(|share| format!("{:.0} %", 100.0 * share));
        let computed = self.computed.map(|computed| format!("{computed:.0?}"));
        write!(
            f,
            "| {} | {} | {} | {:.0} | {} | {:.0?} | {:.0?} | {} |",
            self.kind.name(),
            self.load.organizations.max(1),
            self.load.connections,
            self.pairs.per_second(),
            of_floor.unwrap_or_default(),
            self.pairs.within(0.5),
            self.pairs.within(0.99),
            computed.unwrap_or_default(),
        )
    }
}

fn seconds() -> Duration {
    Duration::from_secs_f64(setting("ATLASENT_BENCH_SECONDS", "3").parse().unwrap())
}

fn list(variable: &str, default: &str) -> Vec<String> {
    let list = setting(variable, default);
    list.split(',').map(|item| item.trim().to_owned()).collect()
}

fn setting(variable: &str, default: &str) -> String {
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}
