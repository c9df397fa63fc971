//! What a store in memory costs beside the decisions that it records.
//!
//! Both numbers are of the whole allow path of a `#[protect]` function, on ten policies:
//!
//! - How much the process grows by 100,000 decisions. Each records three events and leaves one
//!   permit, and the store keeps the newest 100,000 of both.
//! - How many decisions two threads make a second, beside one thread. The threads share the
//!   authority, so two make at most twice as many. One thread and two take turns, and each number is
//!   the median of the rounds.
//!
//! Without `--bench`, as in `cargo test --benches`, it makes a hundredth of the decisions.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should stop, and one that can says something"
)]

#[path = "support/task_policies.rs"]
mod task_policies;

use std::time::{Duration, Instant};
use std::{env, fs, thread};

use atlasent::Error;
use atlasent_authority::{LocalAuthority, Policies};
use futures_executor::block_on;
use task_policies::task_policies;

/// How often one thread and two threads take turns.
const ROUNDS: usize = 9;

#[atlasent::protect(
    action = "task",
    agent = "billing-bot",
    context = { amount, region: "eu-west", urgent: false },
    resource = "account-12",
    authority = authority,
)]
async fn task(authority: &LocalAuthority, amount: i64) -> Result<i64, Error> {
    Ok(std::hint::black_box(amount))
}

fn main() {
    let measures = env::args().any(|argument| argument == "--bench");
    let decisions = if measures { 100_000 } else { 1_000 };
    // The first calls fill what every later one uses.
    decide(&authority(), 1_000);
    let (before, authority) = (resident(), authority());
    decide(&authority, decisions);
    let grown = resident().saturating_sub(before) / 1_000_000;
    println!("{decisions} decisions take {grown} MB");
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for threads in [1, 2] {
            rates[threads - 1].push(rate(&authority, threads, decisions / 4));
        }
    }
    let [one, two] = rates.map(median);
    println!(
        "1 thread: {one:.0}/s, 2 threads: {two:.0}/s, {:.2} times",
        two / one
    );
}

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse(&task_policies()).unwrap()).unwrap()
}

fn decide(authority: &LocalAuthority, decisions: usize) {
    for _ in 0..decisions {
        block_on(task(authority, 250)).unwrap();
    }
}

/// Returns how many decisions a second these threads make together.
fn rate(authority: &LocalAuthority, threads: usize, decisions: usize) -> f64 {
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| decide(authority, decisions));
        }
    });
    per_second(threads * decisions, started.elapsed())
}

fn per_second(decisions: usize, took: Duration) -> f64 {
    decisions as f64 / took.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Returns the memory of the process, in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |number| number.trim().parse::<u64>().unwrap() * 1_000)
}
