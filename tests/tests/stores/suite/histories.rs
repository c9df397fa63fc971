//! Any history of small and large changes is found again, read as the store in memory reads it.

use std::sync::Arc;

use atlasent::Agent;
use atlasent_authority::MemoryStore;
use atlasent_authority::store::{Changeset, NewEvent, PermitState, SealedEvent, Store};
use atlasent_authority::trail::EventFilter;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::media::Medium;
use crate::support::{at, cell, entry, intact, key};

const KINDS: [&str; 3] = ["evaluate.deny", "evaluate.allow", "policy.loaded"];

const AGENTS: [Option<&str>; 3] = [None, Some("bot"), Some("clerk")];

fn event(random: &mut TestRng) -> NewEvent {
    let mut event = NewEvent::new(KINDS[random.random_range(0..KINDS.len())]);
    let agent = AGENTS[random.random_range(0..AGENTS.len())];
    event.actor_id = agent.map(|agent| Agent::new(agent).unwrap());
    event
}

/// A change: its events, the permit that it issues or uses up, and the events that it drops.
#[derive(Clone)]
struct Step {
    events: Vec<NewEvent>,
    permit: Option<String>,
    drop_through: Option<u64>,
}

impl Step {
    /// Returns the next change of a chain that ends with the event `head`.
    fn next(random: &mut TestRng, issued: &mut usize, head: u64) -> Self {
        let mut permit = None;
        let mut drop_through = None;
        let events = match random.random_range(0..20) {
            0..8 => 1,
            8 => random.random_range(2..5),
            9 => random.random_range(5..45),
            10 => {
                drop_through = Some(head / 3);
                0
            }
            kind => {
                if *issued == 0 || kind < 16 {
                    *issued += 1;
                    permit = Some(issued.to_string());
                } else {
                    permit = Some(random.random_range(1..=*issued).to_string());
                }
                1
            }
        };
        Self {
            events: (0..events).map(|_| event(random)).collect(),
            permit,
            drop_through,
        }
    }

    async fn make(self, store: &impl Store, now: Timestamp) {
        let reads = self.permit.as_deref().map(cell).unwrap_or_default();
        let change = move |changeset: &mut Changeset<'_>| {
            if let Some(permit) = self.permit.as_deref().map(key) {
                let mut held = changeset.permit(permit).cloned();
                if let Some(held) = &mut held {
                    held.state = PermitState::Consumed;
                }
                let held = held.unwrap_or_else(|| entry(changeset));
                changeset.keep_permit(permit, held);
            }
            for event in self.events {
                changeset.record(event);
            }
            if let Some(through) = self.drop_through {
                changeset.drop_events(through);
            }
        };
        store.commit(now, reads, change).await.unwrap();
    }
}

/// Returns what events of chains of different organizations have in common.
fn fields(event: &Arc<SealedEvent>) -> (u64, &str, Option<&str>, &str) {
    let agent = event.actor_id.as_deref();
    (event.sequence, &event.kind, agent, &event.occurred_at)
}

/// Asserts that all reads of a store find what those of the other one find.
async fn assert_alike(store: &impl Store, model: &impl Store, issued: usize, now: Timestamp) {
    let (status, expected) = (store.status().await.unwrap(), model.status().await.unwrap());
    assert_eq!(status.head.sequence, expected.head.sequence);
    assert_eq!(status.head.time, expected.head.time);
    assert_eq!(status.dropped, expected.dropped);
    assert_eq!(status.cells, issued as u64);
    intact(store).await;

    let head = status.head.sequence;
    let earlier = now - SignedDuration::from_millis(20);
    let all = EventFilter::default;
    for filter in [
        all(),
        all().types(["evaluate.deny"]),
        all().types(["evaluate.deny", "policy.loaded"]),
        all().actor_id("bot"),
        all().actor_id("clerk").types(["evaluate.allow"]),
        all().since(earlier),
        all().until(earlier),
        all().actor_id("bot").since(earlier).until(now),
        all().through(head.saturating_sub(2)),
        all()
            .types(["evaluate.deny"])
            .through(head.saturating_sub(5)),
    ] {
        let counts = [
            store.count_events(&filter).await.unwrap(),
            model.count_events(&filter).await.unwrap(),
        ];
        assert_eq!(counts[0], counts[1], "{filter:?}");
        for (after, limit) in [
            (0, usize::MAX),
            (0, 3),
            (head.saturating_sub(40), 5),
            (head, 5),
        ] {
            let found = store.events(after, limit, &filter).await.unwrap();
            let expected = model.events(after, limit, &filter).await.unwrap();
            assert_eq!(
                found.iter().map(fields).collect::<Vec<_>>(),
                expected.iter().map(fields).collect::<Vec<_>>(),
                "{filter:?} {after} {limit}"
            );
        }
    }

    for (before, limit) in [
        (u64::MAX, usize::MAX),
        (u64::MAX, 3),
        (head - head / 4, 4),
        (1, 4),
    ] {
        let found = store.permits(before, limit).await.unwrap();
        assert_eq!(
            found,
            model.permits(before, limit).await.unwrap(),
            "{before} {limit}"
        );
    }
    for (permit, _) in model.permits(u64::MAX, usize::MAX).await.unwrap() {
        let found = store.permit_key(permit.id()).await.unwrap();
        assert_eq!(found, Some(permit));
    }
}

pub(crate) async fn any_history_is_found_again(medium: impl Medium) {
    // The same numbers in each run.
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut issued = 0;
    let mut store = medium.open().await;
    let model = MemoryStore::new();
    for step in 1..=400 {
        let now = at(0) + SignedDuration::from_millis(step);
        let head = store.status().await.unwrap().head.sequence;
        let change = Step::next(&mut random, &mut issued, head);
        change.clone().make(&store, now).await;
        change.make(&model, now).await;
        if step % 9 == 0 {
            assert_alike(&store, &model, issued, now).await;
        }
        if step % 100 == 0 {
            drop(store);
            store = medium.open().await;
            assert_alike(&store, &model, issued, now).await;
        }
    }
    assert!(issued > 50);
}
