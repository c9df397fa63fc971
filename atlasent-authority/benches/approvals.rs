//! What many pending decisions cost: each row beside the same with ten.
//!
//! - `list_*` reads a page of ten pending decisions. `decide_*` opens a decision, approves it, and
//!   asks again, which uses the approval. With 10,000 pending decisions of 200 agents, each should
//!   cost at most twice as much as with ten.
//! - `wait` lets so many waiters wait for one decision, approves it, and ends when all have the
//!   answer. The time and the allocated memory should grow by the waiters alone, so that the row of
//!   1,000 is at most a hundred times the row of ten.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run should stop"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::approvals::{ApprovalFilter, Approver, Ballot, EscalationId};
use atlasent_authority::store::Store;
use atlasent_authority::{LocalAuthority, MemoryStore, Policies, RedbStore};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use futures_executor::block_on;
use futures_util::future::{join, join_all};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const POLICIES: &str = r#"
    permit (principal, action, resource);
    @id("held") @decision("hold") @approvers("role:sre")
    forbid (principal, action == Action::"deploy", resource);
"#;

/// How many agents the pending decisions belong to: an agent has at most 100.
const AGENTS: usize = 200;

/// How many decisions a page has.
const PAGE: usize = 10;

/// An authority with pending decisions.
struct Pending<S: Store> {
    authority: LocalAuthority<S>,
    commits: AtomicU64,
}

impl<S: Store> Pending<S> {
    fn new(store: S, pending: usize) -> Self {
        let builder = LocalAuthority::builder(Policies::parse(POLICIES).unwrap());
        let builder = builder.max_approvals(20_000.try_into().unwrap());
        let authority = block_on(builder.store(store).build()).unwrap();
        let pending_ones = Self {
            authority,
            commits: AtomicU64::new(0),
        };
        for agent in (0..pending).map(|place| format!("agent-{}", place % AGENTS)) {
            pending_ones.open(&agent);
        }
        pending_ones
    }

    /// Returns a request whose context no other request has.
    fn request(&self, agent: &str) -> EvaluateRequest {
        let commit = self.commits.fetch_add(1, Ordering::Relaxed);
        let action = AnyAction::new("deploy").unwrap();
        let action = action.with_field("commit", &commit).unwrap();
        EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap()
    }

    fn ask(&self, request: &EvaluateRequest) -> atlasent::wire::Evaluation {
        block_on(self.authority.evaluate(request)).unwrap()
    }

    fn open(&self, agent: &str) -> EscalationId {
        let held = self.ask(&self.request(agent));
        held.escalation_id.unwrap().parse().unwrap()
    }

    fn list(&self) {
        let filter = ApprovalFilter::default();
        let page = self.authority.approvals_page(&filter, u64::MAX, PAGE);
        assert_eq!(block_on(page).unwrap().approvals.len(), PAGE);
    }

    /// Opens a decision, approves it, and uses the approval.
    fn decide(&self) {
        let request = self.request("deploy-bot");
        let id = self.ask(&request).escalation_id.unwrap().parse().unwrap();
        block_on(self.approve(id));
        assert!(self.ask(&request).decision.is_allow());
    }

    async fn approve(&self, id: EscalationId) {
        let alice = Approver::new("alice", ["sre"]).unwrap();
        let vote = self.authority.vote(id, Ballot::approve(alice)).await;
        drop(vote.unwrap());
    }
}

const PENDING: [usize; 2] = [10, 10_000];

#[divan::bench(args = PENDING, sample_count = 100, sample_size = 10)]
fn list_memory(bencher: Bencher<'_, '_>, pending: usize) {
    let pending = Pending::new(MemoryStore::new(), pending);
    bencher.bench_local(|| pending.list());
}

#[divan::bench(args = PENDING, sample_count = 100, sample_size = 10)]
fn list_redb(bencher: Bencher<'_, '_>, pending: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("authority.redb")).unwrap();
    let pending = Pending::new(store, pending);
    bencher.bench_local(|| pending.list());
}

#[divan::bench(args = PENDING, sample_count = 100, sample_size = 10)]
fn decide_memory(bencher: Bencher<'_, '_>, pending: usize) {
    let pending = Pending::new(MemoryStore::new(), pending);
    bencher.bench_local(|| pending.decide());
}

#[divan::bench(args = PENDING, sample_count = 50, sample_size = 1)]
fn decide_redb(bencher: Bencher<'_, '_>, pending: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path().join("authority.redb")).unwrap();
    let pending = Pending::new(store, pending);
    bencher.bench_local(|| pending.decide());
}

#[divan::bench(args = [10, 1_000], sample_count = 50, sample_size = 1)]
fn wait(bencher: Bencher<'_, '_>, waiters: usize) {
    let pending = Arc::new(Pending::new(MemoryStore::new(), 0));
    let counter = ItemsCount::new(waiters);
    bencher.counter(counter).bench_local(|| {
        let id = pending.open("deploy-bot");
        let waits = (0..waiters).map(|_| {
            let authority = &pending.authority;
            authority.wait_for_approval(id, Duration::from_secs(60))
        });
        // The waiters are polled first, so that all of them wait when the vote is cast.
        let (rows, ()) = block_on(join(join_all(waits), pending.approve(id)));
        for row in rows {
            assert!(!black_box(row.unwrap().unwrap()).is_open());
        }
    });
}

fn main() {
    divan::main();
}
