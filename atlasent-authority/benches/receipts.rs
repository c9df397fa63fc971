//! The cost of a receipt: the whole allow path of a `#[protect]` function with the receipt of its
//! end beside the same without.
//!
//! - `memory` runs one call after the other on a store in memory, where the receipt is recorded
//!   before the call returns. With receipts, it should cost at most 1.25 times as much.
//! - `redb` runs 64 calls at a time on a store in a file, and then waits for the receipts. A call
//!   waits for two transactions, and its receipt is part of a third one, which it shares with the
//!   other calls.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run should stop"
)]

#[path = "support/task_policies.rs"]
mod task_policies;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::{Authority, Error};
use atlasent_authority::store::Store;
use atlasent_authority::{LocalAuthority, LocalAuthorityBuilder, MemoryStore, Policies, RedbStore};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use futures_executor::block_on;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use task_policies::task_policies;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// How many calls run at a time on a store in a file.
const AT_A_TIME: usize = 64;

#[atlasent::protect(
    action = "task",
    agent = "billing-bot",
    context = { amount, region: "eu-west" },
    resource = "account-12",
    authority = authority,
)]
async fn task(authority: &impl Authority, amount: i64) -> Result<i64, Error> {
    Ok(black_box(amount))
}

fn builder(receipts: bool) -> LocalAuthorityBuilder {
    LocalAuthority::builder(Policies::parse(&task_policies()).unwrap()).receipts(receipts)
}

/// A clock that runs ahead, so that permits expire and the memory stays constant.
fn running_ahead() -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let steps = AtomicI64::new(0);
    move || {
        let step = i32::try_from(steps.fetch_add(1, Ordering::Relaxed)).unwrap();
        Timestamp::now() + SignedDuration::from_millis(1) * step
    }
}

fn built<S: Store>(builder: LocalAuthorityBuilder<S>) -> LocalAuthority<S> {
    block_on(builder.build()).unwrap()
}

#[divan::bench(args = [false, true], sample_count = 200, sample_size = 50)]
fn memory(bencher: Bencher<'_, '_>, receipts: bool) {
    let store = MemoryStore::with_limits(1_000, 1_000);
    let builder = builder(receipts)
        .clock(running_ahead())
        .permit_ttl(Duration::from_millis(500));
    let authority = built(builder.store(store));
    for _ in 0..1_000 {
        block_on(task(&authority, 250)).unwrap();
    }
    bencher.bench_local(|| block_on(task(&authority, black_box(250))).unwrap());
}

#[divan::bench(args = [false, true], sample_count = 20, sample_size = 1)]
fn redb(bencher: Bencher<'_, '_>, receipts: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("authority.redb")).unwrap();
    let authority = Arc::new(built(builder(receipts).store(store)));
    bencher.counter(ItemsCount::new(AT_A_TIME)).bench_local(|| {
        block_on(async {
            let calls = (0..AT_A_TIME).map(|_| task(&*authority, 250));
            for result in join_all(calls).await {
                result.unwrap();
            }
            authority.flush_receipts().await;
        });
    });
}

fn main() {
    divan::main();
}
