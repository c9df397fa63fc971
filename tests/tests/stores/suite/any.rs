//! After any operations in any order, a store has the same content as a simple model.

use std::collections::BTreeMap;

use atlasent_authority::store::{Changeset, NewEvent, PermitState, Store};
use atlasent_authority::trail::EventFilter;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::media::Medium;
use crate::support::{at, cell, entry, intact, key, numbers, state};

/// One operation on one of a few permits.
#[derive(Clone, Copy, Debug)]
enum Step {
    Issue(u8),
    Use(u8),
    Revoke(u8),
    /// Uses one permit and issues another. Does neither if the first is invalid.
    Swap(u8, u8),
    Record,
    Drop(u64),
    /// Sets the clock, possibly back.
    Time(i64),
}

/// The expected content of a store.
#[derive(Debug, Default)]
struct Model {
    permits: BTreeMap<u8, (PermitState, i64)>,
    sequence: u64,
    dropped: u64,
    /// The time of the last event.
    time: i64,
    clock: i64,
}

impl Model {
    /// Uses a permit up if it is valid.
    fn end(&mut self, permit: u8, as_state: PermitState, now: i64) -> bool {
        let good = (self.permits.get_mut(&permit))
            .filter(|(state, expires)| *state == PermitState::Issued && now < *expires);
        good.map(|(state, _)| *state = as_state).is_some()
    }

    /// Returns whether the change succeeds. A successful change records an event, and with it the
    /// time.
    fn apply(&mut self, step: Step) -> bool {
        let now = self.time.max(self.clock);
        let issued = (PermitState::Issued, now + 10);
        let done = match step {
            Step::Issue(permit) => {
                self.permits.insert(permit, issued);
                true
            }
            Step::Use(permit) => self.end(permit, PermitState::Consumed, now),
            Step::Revoke(permit) => self.end(permit, PermitState::Revoked, now),
            Step::Swap(used, new) => {
                let used = self.end(used, PermitState::Consumed, now);
                used && self.permits.insert(new, issued).is_none_or(|_| true)
            }
            Step::Record => true,
            Step::Drop(_) | Step::Time(_) => false,
        };
        if done {
            self.sequence += 1;
            self.time = now;
        }
        match step {
            Step::Drop(through) => self.dropped = self.dropped.max(through.min(self.sequence)),
            Step::Time(clock) => self.clock = clock,
            _ => {}
        }
        done
    }
}

async fn apply(store: &impl Store, step: Step, now: i64) -> bool {
    let name = |permit: u8| permit.to_string();
    let reads = match step {
        Step::Issue(a) | Step::Use(a) | Step::Revoke(a) => cell(&name(a)),
        Step::Swap(a, b) => [cell(&name(a)), cell(&name(b))].concat(),
        _ => Vec::new(),
    };
    let change = move |changeset: &mut Changeset<'_>| {
        let now = changeset.time();
        let end = |changeset: &mut Changeset<'_>, permit: u8, state| {
            let key = key(&name(permit));
            let Some(mut entry) = changeset.permit(key).cloned() else {
                return false;
            };
            if entry.is_spent() || now >= entry.expires_at {
                return false;
            }
            entry.state = state;
            changeset.keep_permit(key, entry);
            true
        };
        let done = match step {
            Step::Issue(permit) => {
                changeset.keep_permit(key(&name(permit)), entry(changeset));
                true
            }
            Step::Use(permit) => end(changeset, permit, PermitState::Consumed),
            Step::Revoke(permit) => end(changeset, permit, PermitState::Revoked),
            Step::Swap(used, new) => {
                let done = end(changeset, used, PermitState::Consumed);
                if done {
                    changeset.keep_permit(key(&name(new)), entry(changeset));
                }
                done
            }
            Step::Drop(through) => {
                changeset.drop_events(through);
                false
            }
            Step::Record => true,
            Step::Time(_) => false,
        };
        if done {
            changeset.record(NewEvent::new("evaluate.allow"));
        }
        done
    };
    store.commit(at(now), reads, change).await.unwrap()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let permit = || 0..6_u8;
    let step = prop_oneof![
        3 => permit().prop_map(Step::Issue),
        3 => permit().prop_map(Step::Use),
        2 => permit().prop_map(Step::Revoke),
        2 => (permit(), permit()).prop_map(|(used, new)| Step::Swap(used, new)),
        1 => Just(Step::Record),
        1 => (0..60_u64).prop_map(Step::Drop),
        2 => (0..60_i64).prop_map(Step::Time),
    ];
    prop::collection::vec(step, 1..60)
}

pub(crate) async fn any_series_of_changes_leaves_what_a_model_of_it_has<M: Medium>(first: M) {
    let mut runner = TestRunner::default();
    let mut medium = Some(first);
    for _ in 0..8 {
        let Some(fresh) = medium else { return };
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let (store, mut model) = (fresh.open().await, Model::default());
        for (place, step) in steps.iter().enumerate() {
            let clock = model.clock;
            let expected = model.apply(*step);
            let done = apply(&store, *step, clock).await;
            assert_eq!(done, expected, "step {place} of {steps:?}, {model:?}");
        }
        for permit in 0..6 {
            let expected = model.permits.get(&permit).map(|(state, _)| *state);
            assert_eq!(
                state(&store, &permit.to_string()).await,
                expected,
                "{permit} of {steps:?}"
            );
        }
        let status = store.status().await.unwrap();
        let found = (status.head.sequence, status.dropped, status.cells);
        let expected = (model.sequence, model.dropped, model.permits.len() as u64);
        assert_eq!(found, expected, "{steps:?}");
        intact(&store).await;
        let after = numbers(&store, 3, 5, EventFilter::default()).await;
        let expected: Vec<u64> = (model.dropped.max(3) + 1..=model.sequence)
            .take(5)
            .collect();
        assert_eq!(after, expected, "{steps:?}");
        medium = M::new().await;
    }
}
