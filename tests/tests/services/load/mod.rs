//! Tests many connections at once, some of them refused or dropped: no handler runs without a
//! permit, and nothing leaks.
//!
//! The test takes 3 s. The long run prints its numbers:
//!
//! ```sh
//! ATLASENT_LOAD_SECONDS=30 cargo test -p atlasent-tests --all-features --test services load -- --nocapture
//! ```

mod judge;
mod memory;

use std::env;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ati_client::Claims;
use atlasent_axum::{
    Access, ProtectLayer, ProtectedRouter, RequestTarget, SharedAuthority, TakePermit, get,
};
use atlasent_tests::cases::ACTION;
use axum::extract::{FromRef, State};
use axum::{Router, routing};
use tokio::runtime::{self, Handle};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::judge::{ALLOWED, DENIED, HOPEFUL, Judge, PATIENT, number_of};
use self::memory::memory_until;
use crate::agents::{ati, token};
use crate::raw::Raw;
use crate::serving::Served;

const CONNECTIONS: usize = 256;

/// The variable that marks the child process of this test.
const ALONE: &str = "ATLASENT_LOAD_ALONE";

/// How much more memory the last third of the run may use than the middle third, in KiB. A leak of
/// a kilobyte for each request exceeds it, also in the short run.
const TOLERANCE: u64 = 4 << 10;

#[test]
fn under_load_no_handler_runs_without_a_permit_and_nothing_is_left() {
    if env::var_os(ALONE).is_none() {
        return in_a_process_of_its_own();
    }
    let seconds = env::var("ATLASENT_LOAD_SECONDS").map_or(3, |text| text.parse().unwrap());
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(run(Duration::from_secs(seconds)));
}

/// Runs the test in its own process, because other tests use memory and tasks.
fn in_a_process_of_its_own() {
    let name = "load::under_load_no_handler_runs_without_a_permit_and_nothing_is_left";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    assert!(output.status.success(), "{told}\n{errors}");
    assert!(told.contains("1 passed"), "nothing was run: {told}");
}

async fn run(time: Duration) {
    let load = Load::default();
    let served = [layered(&load).await, routed(&load).await];
    let base = Handle::current().metrics().num_alive_tasks();

    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let address = served[number % served.len()].address;
        clients.spawn(client(number, address, until));
    }
    let memory = memory_until(until).await;
    let mut seen = Seen::default();
    while let Some(one) = clients.join_next().await {
        seen.add(one.unwrap());
    }
    until_only_left(base).await;

    let counts = &load.authority.0;
    println!(
        "{seen:?} in {time:?}, {} questions abandoned",
        counts.abandoned.load(SeqCst)
    );
    let [middle, last] = memory.thirds();
    println!(
        "{middle} KiB resident in the middle third, {last} KiB in the last one; {base} tasks left"
    );

    let verified = counts.verified.load(SeqCst);
    assert_eq!(
        load.ran.load(SeqCst),
        verified,
        "runs, and permits that were verified"
    );
    assert_eq!(
        seen.allowed, verified,
        "answers, and permits that were verified"
    );
    assert_eq!(
        load.ran_sum.load(SeqCst),
        counts.verified_sum.load(SeqCst),
        "not the same permits"
    );
    assert_eq!(seen.denied, counts.denied.load(SeqCst));
    // Some dropped requests had not been read.
    assert!(counts.abandoned.load(SeqCst) <= seen.cancelled);
    assert!(counts.abandoned.load(SeqCst) > 0 && seen.denied > 0 && seen.allowed > 0);
    assert!(last <= middle + TOLERANCE, "memory grows: {memory:?}");
}

/// Waits until all connections are closed and their tasks have ended.
async fn until_only_left(base: usize) {
    let started = Instant::now();
    loop {
        let tasks = Handle::current().metrics().num_alive_tasks();
        if tasks == base {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{tasks} tasks, and {base} at first"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

/// The state of both services.
#[derive(Clone, Default)]
struct Load {
    authority: Judge,
    ran: Arc<AtomicU64>,
    ran_sum: Arc<AtomicU64>,
}

impl FromRef<Load> for SharedAuthority {
    fn from_ref(load: &Load) -> Self {
        Self::new(load.authority.clone())
    }
}

async fn work(State(load): State<Load>, TakePermit(permit): TakePermit) -> &'static str {
    assert_eq!(permit.agent().as_str(), ALLOWED);
    load.ran.fetch_add(1, SeqCst);
    load.ran_sum.fetch_add(number_of(permit.id()), SeqCst);
    "done"
}

async fn layered(load: &Load) -> Served {
    let protect = ProtectLayer::new(load.authority.clone(), RequestTarget::action(ACTION));
    let router = Router::new()
        .route("/work", routing::get(work))
        .layer((ati(), protect));
    Served::new(router.with_state(load.clone()).into_make_service()).await
}

async fn routed(load: &Load) -> Served {
    let router = ProtectedRouter::new().route("/work", get(Access::action(ACTION), work));
    let router = router.authenticate(ati()).with_state(load.clone());
    Served::new(router.into_make_service()).await
}

/// The responses that clients received.
#[derive(Debug, Default)]
struct Seen {
    allowed: u64,
    denied: u64,
    cancelled: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.cancelled += other.cancelled;
    }
}

fn request_of(agent: &str) -> String {
    let token = token(Claims::builder(agent).ttl(Duration::from_secs(3600)));
    format!("GET /work HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Sends requests on one connection. A tenth is denied, and another tenth drops the connection.
async fn client(number: usize, address: SocketAddr, until: Instant) -> Seen {
    let [allowed, denied, patient, hopeful] = [ALLOWED, DENIED, PATIENT, HOPEFUL].map(request_of);
    let mut seen = Seen::default();
    let mut raw = Raw::connect(address).await;
    for turn in number.. {
        if Instant::now() >= until {
            break;
        }
        match turn % 10 {
            3 => {
                raw.write(&denied).await;
                assert_eq!(raw.response().await.unwrap().0.status, 403);
                seen.denied += 1;
            }
            7 => {
                raw.write(if turn % 20 == 7 { &patient } else { &hopeful })
                    .await;
                // At a time between sending and the stalled call.
                sleep(Duration::from_millis(turn as u64 / 10 % 6)).await;
                if turn % 3 == 0 {
                    raw.reset();
                }
                seen.cancelled += 1;
                raw = Raw::connect(address).await;
            }
            _ => {
                raw.write(&allowed).await;
                let (head, body) = raw.response().await.unwrap();
                assert_eq!((head.status, &*body), (200, "done"));
                seen.allowed += 1;
            }
        }
    }
    seen
}
