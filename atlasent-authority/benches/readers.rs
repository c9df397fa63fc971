//! What reading the audit trail costs decisions, and what archiving costs them.
//!
//! A server on a `RedbStore` with a million events answers evaluations over loopback, one after the
//! other: alone, beside 64 clients that read filtered pages as fast as they are answered, while
//! 300,000 events are archived, and while these leave the file, which begins when their bundle is
//! complete. Each row has the median and the 99th percentile of an evaluation.
//!
//! Without `--bench`, as in `cargo test --benches`, the chain has a thousand events.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use atlasent::Agent;
use atlasent_authority::keys::ApiKey;
use atlasent_authority::server::{ApiKeys, Retention, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{Changeset, NewEvent, Store};
use atlasent_authority::{LocalAuthority, Policies, RedbStore};
use futures_executor::block_on;
use jiff::{SignedDuration, Timestamp};

const KEY: &str = "ask_test_0123456789";
const READERS: usize = 64;

/// How many events one transaction appends.
const AT_ONCE: u64 = 10_000;

fn main() {
    let measures = env::args().any(|argument| argument == "--bench");
    let (events, old, time) = match measures {
        true => (1_000_000, 300_000, Duration::from_secs(10)),
        false => (1_000, 300, Duration::from_millis(100)),
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("chain.redb");
    let made = make_chain(&path, events, old);
    println!("{events} events in {made:.1?}");
    println!("| | median | p99 | slowest | evaluations | pages |\n|---|---|---|---|---|---|");

    let address = serve(&path, None);
    evaluations(address, time / 4);
    row("alone", &evaluations(address, time), 0);
    let (going, pages) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..READERS)
        .map(|number| {
            let (going, pages) = (Arc::clone(&going), Arc::clone(&pages));
            thread::spawn(move || read(address, number, &going, &pages))
        })
        .collect();
    let beside = evaluations(address, time);
    going.store(false, Ordering::Relaxed);
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
    row("beside 64 readers", &beside, pages.load(Ordering::Relaxed));

    // Another server, on a copy of the file, since the first server has the original open.
    let copy = folder.path().join("copy.redb");
    fs::remove_file(&path).unwrap();
    make_chain(&copy, events, old);
    let archive = folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let started = Instant::now();
    let address = serve(&copy, Some(archive.clone()));
    let beside = evaluations_while(address, || !has_bundle(&archive));
    let took = started.elapsed();
    row("while archiving", &beside, 0);
    row("while the events leave", &evaluations(address, time), 0);
    println!("a bundle of {old} events was complete after {took:.1?}");
}

/// Whether the folder holds a complete bundle. One that is being written has another name.
fn has_bundle(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .any(|name| name.starts_with("events-") && name.ends_with(".json"))
}

/// Starts a server, on a runtime of its own, which runs until the process ends.
fn serve(path: &Path, archive: Option<std::path::PathBuf>) -> SocketAddr {
    let store = RedbStore::open(path).unwrap();
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    let authority = LocalAuthority::builder(policies)
        .store(store)
        // The benchmark's agent uses none of its permits.
        .permits_per_agent(NonZeroU64::MAX);
    let authority = block_on(authority.build()).unwrap();
    let key = ApiKey::parse_allow_weak(&secrecy::SecretString::from(KEY.to_owned())).unwrap();
    let mut server = Server::new(
        authority,
        ApiKeys::new([key]),
        KeyRing::in_memory().unwrap(),
    );
    if let Some(folder) = archive {
        let keep = Duration::from_secs(24 * 3600);
        server = server.retain(Retention { keep, folder });
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listening = server.listen("127.0.0.1:0".parse().unwrap(), None).await;
            let listening = listening.unwrap();
            sender.send(listening.address()).unwrap();
            listening.run_until(std::future::pending()).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// Returns the times of evaluations that run one after the other, in order of their size.
fn evaluations(address: SocketAddr, time: Duration) -> Vec<Duration> {
    let started = Instant::now();
    evaluations_while(address, || started.elapsed() < time)
}

/// Returns the times of evaluations that run while `goes_on` returns true.
fn evaluations_while(address: SocketAddr, goes_on: impl Fn() -> bool) -> Vec<Duration> {
    let mut client = Client::new(address);
    let body = r#"{"action_type":"deploy","actor_id":"deploy-bot","context":{"replicas":3}}"#;
    let mut times = Vec::new();
    // One at least, however soon it is over.
    while times.is_empty() || goes_on() {
        let before = Instant::now();
        assert_eq!(client.ask("POST", "/v1-evaluate", body), 200);
        times.push(before.elapsed());
    }
    times.sort_unstable();
    times
}

fn read(address: SocketAddr, number: usize, going: &AtomicBool, pages: &AtomicU64) {
    let mut client = Client::new(address);
    let query = [
        "types=evaluate.allow".to_owned(),
        format!("actor_id=agent-{number}"),
        "types=stop.set,permit.verified".to_owned(),
        format!("types=evaluate.deny&actor_id=agent-{number}&from=2026-01-01"),
    ];
    let target = format!("/v1-audit/events?limit=50&{}", query[number % query.len()]);
    while going.load(Ordering::Relaxed) {
        if client.ask("GET", &target, "") == 200 {
            pages.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn row(name: &str, times: &[Duration], pages: u64) {
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let (slowest, count) = (times[times.len() - 1], times.len());
    println!("| {name} | {median:.2?} | {p99:.2?} | {slowest:.2?} | {count} | {pages} |");
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    /// Sends a request and returns the status.
    fn ask(&mut self, method: &str, target: &str, body: &str) -> u16 {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if status == 0 {
                status = line.split(' ').nth(1).unwrap().parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            } else if line.trim().is_empty() {
                break;
            }
        }
        io::copy(&mut self.0.by_ref().take(length), &mut io::sink()).unwrap();
        status
    }
}

/// Creates a chain whose first `old` events are two days old. Returns how long that took.
fn make_chain(path: &Path, events: u64, old: u64) -> Duration {
    let started = Instant::now();
    let store = RedbStore::open(path).unwrap();
    let mut made = 0;
    while made < events {
        let count = (events - made)
            .min(AT_ONCE)
            .min(old.saturating_sub(made).max(1_000));
        let first = made;
        let record = move |changeset: &mut Changeset<'_>| {
            for number in first..first + count {
                changeset.record(event(number));
            }
        };
        let age = SignedDuration::from_hours(if made < old { 48 } else { 1 });
        block_on(store.commit(Timestamp::now() - age, Vec::new(), record)).unwrap();
        made += count;
    }
    started.elapsed()
}

/// An event as long as that of a permitted action.
fn event(number: u64) -> NewEvent {
    let kinds = ["evaluate.allow", "permit.verified", "evaluate.deny"];
    let mut event = NewEvent::new(kinds[number as usize % 3])
        .with("action_type", "payment.refund")
        .with("reason", "permitted by policy `refund-1`")
        .with("context_hash", "0123456789abcdef".repeat(4))
        .with("permit_hash", "0123456789abcdef".repeat(4))
        .with("expires_at", "2026-11-01T10:00:00.000000Z");
    event.actor_id = Some(Agent::new(format!("agent-{}", number % 1_000)).unwrap());
    event.resource_id = Some("account-12".into());
    event
}
