//! What the length of the audit chain costs: nothing, except when a store is opened after a crash.
//!
//! For a thousand, a hundred thousand and a million events in a `RedbStore` on a real disk. The
//! file was just written, so it is in the system's cache:
//!
//! - `open` is the time until the store takes changes, after it was closed properly.
//! - `repair` is the same after the process that had it open was killed, and `fast recovery` with
//!   [`RedbStore::with_fast_recovery`].
//! - `verify` is the use of a permit, on disk; `page` is a page of 50 events from the middle, with
//!   the count of all events. Both are medians.
//!
//! A second table has what the index of the events costs a change: the median of a transaction that
//! appends one event to the file, `durable` on the disk, without the index and with it. `in memory`
//! is the same without waiting for the disk.
//!
//! Without `--bench`, as in `cargo test --benches`, the chain has a thousand events.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

#[allow(dead_code, reason = "the bench removes nothing from the index")]
#[path = "../src/store/redb/index.rs"]
mod index;

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::store::{Changeset, NewEvent, Store};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies, RedbStore};
use futures_executor::block_on;
use jiff::Timestamp;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

/// The table of the organization `local`.
const INDEX: TableDefinition<'_, (&str, &str, u64), u64> = TableDefinition::new("index");

/// How many times each measured operation runs.
const TIMES: usize = 200;

/// How many events one transaction appends.
const AT_ONCE: u64 = 10_000;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [make, path, events, recovery] = &*arguments
        && make == "--make"
    {
        return make_chain(Path::new(path), events.parse().unwrap(), recovery);
    }
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let lengths: &[u64] = if measures {
        &[1_000, 100_000, 1_000_000]
    } else {
        &[1_000]
    };
    let head = "| events | MiB | open | repair | fast recovery | verify | page |\n|---|---|---|---|---|---|---|";
    println!("{head}");
    let mut indexes = Vec::new();
    for length in lengths {
        let (chain, index) = measure(*length);
        println!("{chain}");
        indexes.push(index);
    }
    println!(
        "\n| events | durable | with the index | in memory | with the index |\n|---|---|---|---|---|"
    );
    for index in indexes {
        println!("{index}");
    }
}

/// Returns a row of each table.
fn measure(length: u64) -> (String, String) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("chain.redb");
    let maker = Maker::start(&path, length);
    maker.finish();
    let size = fs::metadata(&path).unwrap().len() / (1024 * 1024);

    let started = Instant::now();
    let store = RedbStore::open(&path).unwrap();
    let open = started.elapsed();
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    let authority = LocalAuthority::builder(policies).store(store);
    let authority = block_on(authority.build()).unwrap();
    let verify = time_of_verify(&authority);
    let page = time_of_a_page(&authority, length / 2);
    drop(authority);

    Maker::start(&path, 1).kill();
    let started = Instant::now();
    drop(RedbStore::open(&path).unwrap());
    let repair = started.elapsed();
    Maker::start_with(&path, 1, "--fast-recovery").kill();
    let started = Instant::now();
    drop(RedbStore::open(&path).unwrap());
    let fast = started.elapsed();
    let row = format!(
        "| {length} | {size} | {open:.1?} | {repair:.1?} | {fast:.1?} | {verify:.1?} | {page:.1?} |"
    );
    (row, cost_of_the_index(&path, length))
}

/// Rows as long as those of events, beside the events of the store.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bench");

/// Appends to the file of a store that is closed. Both kinds of transaction take turns, so that
/// noise meets both.
fn cost_of_the_index(path: &Path, length: u64) -> String {
    let database = Database::open(path).unwrap();
    // Beyond the store's own events.
    let mut sequence = 2 * length;
    let mut cells = vec![length.to_string()];
    for durability in [Durability::Immediate, Durability::None] {
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..2 * TIMES {
            sequence += 1;
            let started = Instant::now();
            append(&database, durability, sequence, turn % 2 == 1);
            times[turn % 2].push(started.elapsed());
        }
        for mut times in times {
            times.sort_unstable();
            cells.push(format!("{:.1?}", times[TIMES / 2]));
        }
    }
    let transaction = database.begin_read().unwrap();
    let index = transaction.open_table(INDEX).unwrap();
    let range = (2 * length, u64::MAX);
    let count = index::count(&index, ("evaluate.allow", "billing-bot"), range).unwrap();
    assert_eq!(count, 2 * TIMES as u64);
    format!("| {} |", cells.join(" | "))
}

fn append(database: &Database, durability: Durability, sequence: u64, with_index: bool) {
    let mut transaction = database.begin_write().unwrap();
    transaction.set_durability(durability).unwrap();
    let mut rows = transaction.open_table(ROWS).unwrap();
    rows.insert(sequence, &[7; 700][..]).unwrap();
    drop(rows);
    if with_index {
        let mut table = transaction.open_table(INDEX).unwrap();
        let event = (sequence, "evaluate.allow", "billing-bot");
        index::add(&mut table, std::iter::once(event)).unwrap();
    }
    transaction.commit().unwrap();
}

fn time_of_verify(authority: &LocalAuthority<RedbStore>) -> Duration {
    let agent = Agent::new("bot").unwrap();
    let action = AnyAction::new("deploy").unwrap();
    let request = EvaluateRequest::new(agent, &action).unwrap();
    median(|| {
        let token = block_on(authority.evaluate(&request)).unwrap().permit_token;
        let question = VerifyRequest::restating(&request, token.unwrap());
        let started = Instant::now();
        assert!(block_on(authority.verify(&question)).unwrap().valid);
        started.elapsed()
    })
}

fn time_of_a_page(authority: &LocalAuthority<RedbStore>, after: u64) -> Duration {
    let all = EventFilter::default();
    median(|| {
        let started = Instant::now();
        let total = block_on(authority.store().count_events(&all)).unwrap();
        let page = block_on(authority.events(after, 51, &all)).unwrap();
        assert!(page.len() == 51 && total > after);
        started.elapsed()
    })
}

fn median(mut time: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<_> = (0..TIMES).map(|_| time()).collect();
    times.sort_unstable();
    times[TIMES / 2]
}

/// A process that creates a chain: this executable again.
struct Maker(std::process::Child);

impl Maker {
    /// Waits until the events are written. The process still has the store open then.
    fn start(path: &Path, events: u64) -> Self {
        Self::start_with(path, events, "--slow-recovery")
    }

    fn start_with(path: &Path, events: u64, recovery: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .arg("--make")
            .arg(path)
            .arg(events.to_string())
            .arg(recovery)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let mut done = String::new();
        BufReader::new(output).read_line(&mut done).unwrap();
        assert_eq!(done, "done\n");
        Self(child)
    }

    fn finish(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Appends events until the standard input ends, and closes the store.
fn make_chain(path: &Path, events: u64, recovery: &str) {
    let mut store = RedbStore::open(path).unwrap();
    if recovery == "--fast-recovery" {
        store = store.with_fast_recovery();
    }
    let mut left = events;
    while left > 0 {
        let count = left.min(AT_ONCE);
        let record = move |changeset: &mut Changeset<'_>| {
            for _ in 0..count {
                changeset.record(event());
            }
        };
        block_on(store.commit(Timestamp::now(), Vec::new(), record)).unwrap();
        left -= count;
    }
    println!("done");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(store);
}

/// An event as long as that of a permitted action.
fn event() -> NewEvent {
    let mut event = NewEvent::new("evaluate.allow")
        .with("action_type", "payment.refund")
        .with("reason", "permitted by policy `refund-1`")
        .with("context_hash", "0123456789abcdef".repeat(4))
        .with("permit_hash", "0123456789abcdef".repeat(4))
        .with("expires_at", "2026-11-01T10:00:00.000000Z");
    event.decision = Some("allow");
    event.actor_id = Some(Agent::new("billing-bot").unwrap());
    event.resource_id = Some("account-12".into());
    event
}
