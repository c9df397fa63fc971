//! Pending decisions are in one of two lists, in the order in which they were opened, and are
//! forgotten only after they were closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atlasent_authority::store::{
    AgentKey, ApprovalKey, ApprovalList, ApprovalState, AskedQuestions, CellKey, Changeset,
    EscalationId, NewEvent, Organizations, Outstanding, Store,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::organizations::two;
use crate::media::Medium;
use crate::support::{
    CROWD, at, crowd, decide, escalation, intact, open_count, open_decisions, pending, record,
};

const OPEN: ApprovalList = ApprovalList::Open;
const CLOSED: ApprovalList = ApprovalList::Closed;

/// Returns the ids in a list, the newest first.
async fn ids(store: &impl Store, list: ApprovalList) -> Vec<EscalationId> {
    let found = store.approvals(list, u64::MAX, usize::MAX).await.unwrap();
    found.iter().map(|entry| entry.id).collect()
}

async fn state_of(store: &impl Store, id: EscalationId) -> Option<ApprovalState> {
    let found = store.approval(id.key()).await.unwrap();
    found.map(|entry| entry.state)
}

pub(crate) async fn a_decision_moves_from_the_open_ones_to_the_closed_ones(medium: impl Medium) {
    let store = medium.open().await;
    let [a, b, c, d] = [1, 2, 3, 4].map(escalation);
    assert_eq!(state_of(&store, a).await, None);
    assert!(ids(&store, OPEN).await.is_empty() && ids(&store, CLOSED).await.is_empty());
    for id in [a, b, c, d] {
        open_decisions(&store, vec![id], at(0)).await.unwrap();
    }
    assert_eq!(ids(&store, OPEN).await, [d, c, b, a]);
    assert_eq!(open_count(&store).await, 4);

    // An escalated one is still open.
    for (id, state) in [
        (b, ApprovalState::Escalated),
        (c, ApprovalState::Approved),
        (a, ApprovalState::Rejected),
        (d, ApprovalState::TimedOut),
    ] {
        assert!(decide(&store, vec![id], state, at(1)).await.unwrap());
        assert_eq!(state_of(&store, id).await, Some(state));
    }
    assert_eq!(ids(&store, OPEN).await, [b]);
    assert_eq!(ids(&store, CLOSED).await, [d, c, a]);
    assert_eq!(open_count(&store).await, 1);
    assert_eq!(intact(&store).await, 8);
}

pub(crate) async fn a_closed_decision_never_opens_again(medium: impl Medium) {
    let store = medium.open().await;
    let id = escalation(1);
    open_decisions(&store, vec![id], at(0)).await.unwrap();
    for (state, is_kept) in [
        (ApprovalState::Rejected, true),
        (ApprovalState::Pending, false),
        (ApprovalState::Escalated, false),
    ] {
        let kept = decide(&store, vec![id], state, at(1)).await.unwrap();
        assert_eq!(kept, is_kept, "{state:?}");
        assert_eq!(state_of(&store, id).await, Some(ApprovalState::Rejected));
    }
    assert!(ids(&store, OPEN).await.is_empty());
    assert_eq!(open_count(&store).await, 0);
}

pub(crate) async fn decisions_come_in_pages_the_newest_first(medium: impl Medium) {
    let store = medium.open().await;
    let all: Vec<_> = (0..25).map(escalation).collect();
    for id in &all {
        open_decisions(&store, vec![*id], at(0)).await.unwrap();
        record(&store, "evaluate.deny", None, at(0)).await;
    }
    let odd: Vec<_> = all.iter().copied().skip(1).step_by(2).collect();
    let state = ApprovalState::Approved;
    decide(&store, odd.clone(), state, at(1)).await.unwrap();
    for (list, expected) in [
        (OPEN, all.iter().copied().step_by(2).rev().collect()),
        (CLOSED, odd.into_iter().rev().collect::<Vec<_>>()),
    ] {
        let (mut found, mut before) = (Vec::new(), u64::MAX);
        loop {
            let page = store.approvals(list, before, 5).await.unwrap();
            let Some(last) = page.last() else { break };
            before = last.sequence;
            found.extend(page.iter().map(|entry| entry.id));
        }
        assert_eq!(found, expected);
        assert!(store.approvals(list, 0, 5).await.unwrap().is_empty());
        assert!(store.approvals(list, before, 5).await.unwrap().is_empty());
        assert!(store.approvals(list, u64::MAX, 0).await.unwrap().is_empty());
    }
}

pub(crate) async fn a_page_of_decisions_ends_after_some_megabytes(medium: impl Medium) {
    let store = medium.open().await;
    // Releases before this one kept as much.
    let large = "x".repeat(1024 * 1024);
    for number in 0..6 {
        let (id, shown) = (escalation(number), large.clone());
        let change = move |changeset: &mut Changeset<'_>| {
            let mut entry = pending(changeset, id);
            entry.shown = shown.into();
            changeset.record(NewEvent::new("approval.requested"));
            changeset.keep_approval(entry)
        };
        let kept = store.commit(at(0), id.cells().to_vec(), change).await;
        assert!(kept.unwrap());
    }
    let (mut pages, mut before) = (Vec::new(), u64::MAX);
    loop {
        let page = store.approvals(OPEN, before, 50).await.unwrap();
        let Some(last) = page.last() else { break };
        before = last.sequence;
        pages.push(page.len());
    }
    assert_eq!(pages, [4, 2]);
}

pub(crate) async fn of_many_that_decide_at_once_each_sees_the_others(medium: impl Medium) {
    let store = Arc::new(medium.open().await);
    open_decisions(&*store, (0..CROWD / 2).map(escalation).collect(), at(0))
        .await
        .unwrap();
    // Each decision has two voters, and the one that comes first opens another.
    let won = crowd(|number| {
        let store = Arc::clone(&store);
        async move {
            let id = escalation(number / 2);
            let change = move |changeset: &mut Changeset<'_>| {
                let mut entry = changeset.approval(id.key()).unwrap().clone();
                if !entry.is_open() {
                    return false;
                }
                entry.state = ApprovalState::Approved;
                changeset.keep_approval(entry)
            };
            let won = store.commit(at(1), id.cells().to_vec(), change).await;
            if won.unwrap() {
                let next = vec![escalation(CROWD + number)];
                open_decisions(&*store, next, at(1)).await.unwrap();
                return true;
            }
            false
        }
    })
    .await;
    let half = CROWD / 2;
    assert_eq!(won.iter().filter(|won| **won).count(), half);
    assert_eq!(ids(&*store, CLOSED).await.len(), half);
    assert_eq!(ids(&*store, OPEN).await.len(), half);
    assert_eq!(open_count(&*store).await, half as u64);
}

pub(crate) async fn a_closed_decision_is_forgotten_and_an_open_one_is_not(medium: impl Medium) {
    let store = medium.open().await;
    let [closed, open] = [1, 2].map(escalation);
    open_decisions(&store, vec![closed, open], at(0))
        .await
        .unwrap();
    let state = ApprovalState::Approved;
    decide(&store, vec![closed], state, at(1)).await.unwrap();
    let cells = store.status().await.unwrap().cells;
    let day = 24 * 3_600;
    for (now, is_known) in [(30 * day, true), (31 * day, false), (900 * day, false)] {
        for _ in 0..2 {
            record(&store, "policy.loaded", None, at(now)).await;
        }
        assert_eq!(state_of(&store, closed).await.is_some(), is_known, "{now}");
        assert_eq!(ids(&store, CLOSED).await.len(), usize::from(is_known));
        assert_eq!(ids(&store, OPEN).await, [open]);
    }
    assert_eq!(store.status().await.unwrap().cells, cells - 1);
    assert_eq!(open_count(&store).await, 1);
    decide(&store, vec![open], ApprovalState::TimedOut, at(900 * day))
        .await
        .unwrap();
    record(&store, "policy.loaded", None, at(901 * day)).await;
    assert_eq!(state_of(&store, open).await, None);
    assert_eq!(open_count(&store).await, 0);
}

pub(crate) async fn questions_are_the_agents_own_and_no_counts_of_permits(medium: impl Medium) {
    let store = medium.open().await;
    let [one, two] = ["one", "two"].map(|agent| AgentKey::new(agent, None));
    let keep = move |changeset: &mut Changeset<'_>| {
        let question = pending(changeset, escalation(1)).question;
        let mut asked = changeset.questions(one);
        let until = changeset.time() + jiff::SignedDuration::from_hours(1);
        asked.open_until(question.key(), escalation(1), until, changeset.time());
        changeset.keep_questions(one, asked);
        changeset.record(NewEvent::new("approval.requested"));
        question.key()
    };
    let reads = vec![CellKey::Questions(one)];
    let question = store.commit(at(0), reads, keep).await.unwrap();
    let look = move |changeset: &mut Changeset<'_>| {
        let outstanding = changeset.outstanding(one);
        [one, two]
            .map(|agent| changeset.questions(agent))
            .map(|asked| {
                assert_eq!(outstanding, Outstanding::default());
                asked.get(&question, at(0))
            })
    };
    let reads = vec![
        CellKey::Questions(one),
        CellKey::Questions(two),
        CellKey::Agent(one),
    ];
    let found = store.commit(at(0), reads.clone(), look).await.unwrap();
    assert_eq!(found, [Some(escalation(1)), None]);
    // The cell is forgotten some time after its last question has expired.
    for _ in 0..2 {
        record(&store, "policy.loaded", None, at(3 * 3_600)).await;
    }
    let look = move |changeset: &mut Changeset<'_>| changeset.questions(one);
    let left = store.commit(at(0), reads, look).await.unwrap();
    assert_eq!(left, AskedQuestions::default());
}

pub(crate) async fn long_lists_are_paged_as_fast_as_short_ones(medium: impl Medium) {
    let store = medium.open().await;
    let few: Vec<_> = (0..50).map(escalation).collect();
    open_decisions(&store, few, at(0)).await.unwrap();
    let short = fastest(&store).await;
    let many: Vec<_> = (100..9_000).map(escalation).collect();
    for some in many.chunks(1_000) {
        open_decisions(&store, some.to_vec(), at(0)).await.unwrap();
    }
    let closed = many.iter().copied().step_by(2).collect();
    let state = ApprovalState::Approved;
    decide(&store, closed, state, at(1)).await.unwrap();
    // Reading the whole lists would take a hundred times as long, whatever else the machine does.
    let limit = 5 * short + Duration::from_millis(2);
    let mut long = fastest(&store).await;
    for _ in 0..4 {
        if long >= limit {
            long = fastest(&store).await;
        }
    }
    assert!(long < limit, "{short:?} {long:?}");
    assert_eq!(open_count(&store).await, 50 + 4_450);
}

/// Returns the shortest time for the newest 50 of both lists.
async fn fastest(store: &impl Store) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..30 {
        let before = Instant::now();
        for list in [OPEN, CLOSED] {
            store.approvals(list, u64::MAX, 50).await.unwrap();
        }
        best = best.min(before.elapsed());
    }
    best
}

/// Opens, decides and lists a few decisions, in any order.
pub(crate) async fn any_series_of_decisions_leaves_what_a_model_of_it_has<M: Medium>(first: M) {
    const STATES: [ApprovalState; 5] = [
        ApprovalState::Pending,
        ApprovalState::Escalated,
        ApprovalState::Approved,
        ApprovalState::Rejected,
        ApprovalState::TimedOut,
    ];
    let steps = prop::collection::vec((0..8_usize, 0..8_usize), 1..60);
    let mut runner = TestRunner::default();
    let mut medium = Some(first);
    for _ in 0..8 {
        let Some(fresh) = medium else { return };
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let store = fresh.open().await;
        let mut model: BTreeMap<usize, (u64, ApprovalState)> = BTreeMap::new();
        let mut sequence = 0;
        for (number, what) in &steps {
            let id = escalation(*number);
            match (STATES.get(*what), model.get_mut(number)) {
                (Some(state), Some((_, known))) => {
                    let was_open =
                        [ApprovalState::Pending, ApprovalState::Escalated].contains(known);
                    let is_kept = was_open || *what > 1;
                    let kept = decide(&store, vec![id], *state, at(1)).await.unwrap();
                    assert_eq!(kept, is_kept, "{steps:?}");
                    if is_kept {
                        *known = *state;
                    }
                    sequence += 1;
                }
                (None, None) => {
                    open_decisions(&store, vec![id], at(0)).await.unwrap();
                    sequence += 1;
                    model.insert(*number, (sequence, ApprovalState::Pending));
                }
                _ => {}
            }
        }
        for list in [OPEN, CLOSED] {
            let is_listed = |state| (list == OPEN) == STATES[..2].contains(&state);
            for (before, limit) in [(u64::MAX, 99), (sequence / 2, 99), (sequence, 2)] {
                let mut expected: Vec<_> = model
                    .iter()
                    .filter(|(_, (opened, state))| *opened < before && is_listed(*state))
                    .map(|(number, (opened, state))| (*opened, escalation(*number), *state))
                    .collect();
                expected.sort_unstable_by_key(|(opened, ..)| std::cmp::Reverse(*opened));
                expected.truncate(limit);
                let found = store.approvals(list, before, limit).await.unwrap();
                let found = found
                    .iter()
                    .map(|entry| (entry.sequence, entry.id, entry.state));
                assert_eq!(found.collect::<Vec<_>>(), expected, "{steps:?}");
            }
        }
        let open = model
            .values()
            .filter(|(_, state)| STATES[..2].contains(state));
        assert_eq!(open_count(&store).await, open.count() as u64, "{steps:?}");
        medium = M::new().await;
    }
}

pub(crate) async fn an_organization_sees_no_decision_of_another(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    let (id, state) = (escalation(1), ApprovalState::Rejected);
    open_decisions(&one, vec![id, escalation(2)], at(0))
        .await
        .unwrap();
    decide(&one, vec![id], state, at(0)).await.unwrap();
    assert_eq!(state_of(&two, id).await, None);
    for list in [OPEN, CLOSED] {
        assert!(ids(&two, list).await.is_empty());
    }
    assert_eq!(open_count(&two).await, 0);

    // The same id is another decision there.
    open_decisions(&two, vec![id], at(0)).await.unwrap();
    assert_eq!(state_of(&one, id).await, Some(state));
    assert_eq!(ids(&one, OPEN).await, [escalation(2)]);
    assert_eq!(ids(&two, OPEN).await, [id]);
    // Nothing is forgotten by the time of the other.
    record(&two, "policy.loaded", None, at(100_000_000)).await;
    record(&two, "policy.loaded", None, at(100_000_000)).await;
    assert_eq!(ids(&one, CLOSED).await, [id]);
}

pub(crate) async fn decisions_of_an_unknown_organization_are_refused(medium: impl Medium) {
    let store = medium.open().await;
    let unknown = store.organization(&"nobody".parse().unwrap());
    let key: ApprovalKey = escalation(1).key();
    let errors = [
        unknown.approvals(OPEN, 9, 9).await.err(),
        unknown.approval(key).await.err(),
    ];
    for error in errors {
        let text = error.unwrap().to_string();
        assert_eq!(text, "there is no organization `nobody`");
    }
}

pub(crate) async fn decisions_are_found_again(medium: impl Medium) {
    let store = medium.open().await;
    let all: Vec<_> = (0..6).map(escalation).collect();
    open_decisions(&store, all.clone(), at(0)).await.unwrap();
    let state = ApprovalState::Approved;
    decide(&store, all[..2].to_vec(), state, at(1))
        .await
        .unwrap();
    let before = [
        store.approvals(OPEN, u64::MAX, 9).await.unwrap(),
        store.approvals(CLOSED, u64::MAX, 9).await.unwrap(),
    ];
    assert_eq!(before.each_ref().map(Vec::len), [4, 2]);
    drop(store);

    let store = medium.open().await;
    let after = [
        store.approvals(OPEN, u64::MAX, 9).await.unwrap(),
        store.approvals(CLOSED, u64::MAX, 9).await.unwrap(),
    ];
    assert_eq!(after, before);
    assert_eq!(open_count(&store).await, 4);
    assert!(
        decide(&store, all[2..].to_vec(), state, at(2))
            .await
            .unwrap()
    );
    assert_eq!(open_count(&store).await, 0);
}
