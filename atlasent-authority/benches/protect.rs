//! The cost of a permit beside that of the decision.
//!
//! - `protect` is the whole allow path of a `#[protect]` function on a [`LocalAuthority`]: decide,
//!   record, mint, verify, consume, record, run the body, close.
//! - `cedar` is the decision alone: a bare [`cedar_policy::Authorizer`] on the same policies,
//!   request built in the loop.
//! - `cedar_and_two_digests` adds what the two audit events cannot do without: SHA-256 over 600
//!   bytes, twice.
//!
//! Each runs on ten policies for one action, and on a thousand for a hundred actions, ten of them
//! for the one that is asked for. What we add is `protect` less `cedar_and_two_digests` on ten
//! policies; it should be less than `cedar` there. On a thousand, `cedar` reads them all and
//! `protect` reads ten: it should cost at most 1.3 times what it costs on ten.
//!
//! - `protect_one_action` and `cedar_one_action` are the same on a thousand policies for one
//!   action, which differ in the value, or in the prefix, that they compare `context.region` with.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run should stop"
)]

#[path = "support/bare_cedar.rs"]
mod bare_cedar;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::{Error, Permit};
use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
use divan::{AllocProfiler, Bencher, black_box};
use futures_executor::block_on;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use bare_cedar::Cedar;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const AMOUNT: i64 = 250;
const REGION: &str = "eu-west";

#[atlasent::protect(
    action = "task.7",
    agent = "billing-bot",
    context = { amount, region, urgent: false },
    resource = "account-12",
    authority = authority,
)]
async fn task(
    authority: &LocalAuthority,
    amount: i64,
    region: &str,
    permit: Permit,
) -> Result<(), Error> {
    let _ = black_box(permit);
    Ok(())
}

#[divan::bench(args = WORKLOADS, sample_count = 200, sample_size = 50)]
fn protect(bencher: Bencher<'_, '_>, workload: &Workload) {
    let authority = authority(&workload.policies());
    for _ in 0..1_000 {
        block_on(task(&authority, AMOUNT, REGION)).unwrap();
    }
    bencher.bench_local(|| {
        block_on(task(&authority, black_box(AMOUNT), black_box(REGION))).unwrap();
    });
}

#[divan::bench(args = WORKLOADS, sample_count = 200, sample_size = 50)]
fn cedar(bencher: Bencher<'_, '_>, workload: &Workload) {
    let cedar = Cedar::new(&workload.policies(), "task.7");
    bencher.bench_local(|| cedar.decide(AMOUNT, REGION));
}

#[divan::bench(args = WORKLOADS, sample_count = 200, sample_size = 50)]
fn cedar_and_two_digests(bencher: Bencher<'_, '_>, workload: &Workload) {
    let cedar = Cedar::new(&workload.policies(), "task.7");
    let event = [b'x'; 600];
    bencher.bench_local(|| {
        cedar.decide(AMOUNT, REGION);
        [
            Sha256::digest(black_box(event)),
            Sha256::digest(black_box(event)),
        ]
    });
}

#[divan::bench(args = OPERATORS, sample_count = 100, sample_size = 10)]
fn protect_one_action(bencher: Bencher<'_, '_>, operator: &str) {
    let authority = authority(&one_action(operator));
    bencher.bench_local(|| block_on(task(&authority, black_box(AMOUNT), ONE_REGION)).unwrap());
}

#[divan::bench(args = OPERATORS, sample_count = 100, sample_size = 10)]
fn cedar_one_action(bencher: Bencher<'_, '_>, operator: &str) {
    let cedar = Cedar::new(&one_action(operator), "task.7");
    bencher.bench_local(|| cedar.decide(AMOUNT, ONE_REGION));
}

const OPERATORS: [&str; 2] = ["==", "like"];
const ONE_REGION: &str = "region-500/";

/// A thousand policies for `task.7`, one of which permits the benchmark's request.
fn one_action(operator: &str) -> String {
    let policies = (0..1_000).map(|n| {
        let region = match operator {
            "like" => format!("region-{n}/*"),
            _ => format!("region-{n}/"),
        };
        format!(
            r#"@id("{n}") permit (principal, action == Action::"task.7", resource) when {{ context.region {operator} "{region}" }};"#
        )
    });
    policies.collect()
}

fn main() {
    divan::main();
}

struct Workload {
    actions: usize,
}

const WORKLOADS: [Workload; 2] = [Workload { actions: 1 }, Workload { actions: 100 }];
const POLICIES_PER_ACTION: usize = 10;

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} policies", self.actions * POLICIES_PER_ACTION)
    }
}

impl Workload {
    /// Ten policies for each action, `task.7` among them. Two of them are `forbid`s, and one of the
    /// others permits the benchmark's request.
    fn policies(&self) -> String {
        let actions = 7..7 + self.actions;
        let policies =
            actions.flat_map(|action| (0..POLICIES_PER_ACTION).map(move |n| (action, n)));
        policies
            .map(|(action, n)| {
                let (effect, condition) = match n {
                    0 => ("permit", format!(r#"context.region == "{REGION}" && context.amount < 1000"#)),
                    1 => ("forbid", "context.amount > 5000".to_owned()),
                    2 => ("forbid", "context.urgent && context.amount > 100".to_owned()),
                    _ => ("permit", format!(r#"context.region == "region-{n}""#)),
                };
                format!(
                    r#"@id("task.{action}-{n}") {effect} (principal, action == Action::"task.{action}", resource) when {{ {condition} }};"#
                )
            })
            .collect()
    }
}

/// An authority with small limits, so that its memory stays constant over many iterations.
fn authority(policies: &str) -> LocalAuthority {
    const STEP: SignedDuration = SignedDuration::from_millis(1);
    let steps = AtomicI64::new(0);
    let clock = move || {
        let step = i32::try_from(steps.fetch_add(1, Ordering::Relaxed)).unwrap();
        Timestamp::now() + STEP * step
    };
    let builder = LocalAuthority::builder(Policies::parse(policies).unwrap())
        .clock(clock)
        .permit_ttl(Duration::from_millis(500))
        .store(MemoryStore::with_limits(1_000, 1_000));
    block_on(builder.build()).unwrap()
}
