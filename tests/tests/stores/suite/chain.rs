//! The chain: events follow one another without gaps, and can be found again.

use std::sync::Arc;

use atlasent::Agent;
use atlasent_authority::store::{Changeset, NewEvent, Store};
use atlasent_authority::trail::EventFilter;

use crate::media::Medium;
use crate::support::{CROWD, agrees_with_every_filter, at, crowd, intact, issue, numbers, record};

pub(crate) async fn many_at_once_make_one_chain_without_gaps(medium: impl Medium) {
    let store = Arc::new(medium.open().await);
    let places = crowd(|number| {
        let store = Arc::clone(&store);
        async move {
            let mut places = Vec::new();
            for round in 0..5 {
                issue(&*store, &format!("{number} {round}"), at(round))
                    .await
                    .unwrap();
                places.push(
                    record(&*store, "evaluate.deny", Some("bot"), at(0))
                        .await
                        .sequence,
                );
            }
            places
        }
    })
    .await;
    assert!(places.iter().all(|places| places.is_sorted()));
    assert_eq!(intact(&*store).await, 10 * CROWD as u64);
    assert_eq!(store.status().await.unwrap().cells, 5 * CROWD as u64);
}

pub(crate) async fn events_come_in_pages(medium: impl Medium) {
    let store = medium.open().await;
    assert!(
        numbers(&store, 0, 10, EventFilter::default())
            .await
            .is_empty()
    );
    for number in 0..25 {
        record(&store, "policy.loaded", None, at(number)).await;
    }
    let (mut after, mut sizes, mut seen) = (0, Vec::new(), Vec::new());
    loop {
        let page = numbers(&store, after, 10, EventFilter::default()).await;
        sizes.push(page.len());
        let Some(last) = page.last() else { break };
        after = *last;
        seen.extend(page);
    }
    assert_eq!(sizes, [10, 10, 5, 0]);
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    assert!(
        numbers(&store, 0, 0, EventFilter::default())
            .await
            .is_empty()
    );
    assert!(
        numbers(&store, u64::MAX, 10, EventFilter::default())
            .await
            .is_empty()
    );
    assert_eq!(
        numbers(&store, 24, usize::MAX, EventFilter::default()).await,
        [25]
    );
}

pub(crate) async fn events_are_found_by_type_agent_time_and_place(medium: impl Medium) {
    let store = medium.open().await;
    let events = [
        ("evaluate.allow", Some("a"), 0),
        ("evaluate.deny", Some("b"), 1),
        ("policy.loaded", None, 2),
        ("evaluate.allow", Some("b"), 2),
        ("evaluate.deny", Some("a"), 3),
    ];
    for (kind, agent, second) in events {
        record(&store, kind, agent, at(second)).await;
    }
    let all = EventFilter::default;
    let cases: [(EventFilter, &[u64]); 13] = [
        (all(), &[1, 2, 3, 4, 5]),
        (all().types(["evaluate.allow"]), &[1, 4]),
        (all().types(["evaluate.allow", "policy.loaded"]), &[1, 3, 4]),
        (all().types(["evaluate"]), &[]),
        (all().actor_id("a"), &[1, 5]),
        (all().actor_id(""), &[]),
        (all().since(at(2)), &[3, 4, 5]),
        (all().until(at(2)), &[1, 2, 3, 4]),
        (all().since(at(1)).until(at(2)), &[2, 3, 4]),
        (all().since(at(4)), &[]),
        (all().through(3), &[1, 2, 3]),
        (all().through(u64::MAX), &[1, 2, 3, 4, 5]),
        (
            all()
                .types(["evaluate.deny"])
                .actor_id("a")
                .since(at(1))
                .until(at(3))
                .through(5),
            &[5],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(
            numbers(&store, 0, 10, filter.clone()).await,
            expected,
            "{filter:?}"
        );
        let count = store.count_events(&filter).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{filter:?}");
        let second: Vec<u64> = expected.iter().skip(1).take(1).copied().collect();
        let after = expected.first().copied().unwrap_or(0);
        assert_eq!(numbers(&store, after, 1, filter).await, second);
    }
}

pub(crate) async fn any_filter_finds_and_counts_what_passes(medium: impl Medium) {
    let store = medium.open().await;
    let kinds = [
        "evaluate.allow",
        "evaluate.deny",
        "permit.verified",
        "policy.loaded",
    ];
    let agents = [Some("bot 1"), Some("bot 2"), None];
    agrees_with_every_filter(&store).await;
    let mut number = 0;
    for _ in 0..3 {
        let change = move |changeset: &mut Changeset<'_>| {
            for number in number..number + 60 {
                let mut event = NewEvent::new(kinds[number * 7 % 4]);
                let agent = agents[number * 5 % 3];
                event.actor_id = agent.map(|agent| Agent::new(agent).unwrap());
                changeset.record(event);
            }
            changeset.drop_events(number as u64 / 3);
        };
        let now = at(number as i64 / 20);
        store.commit(now, Vec::new(), change).await.unwrap();
        number += 60;
        agrees_with_every_filter(&store).await;
    }
}

pub(crate) async fn a_list_of_events_ends_when_it_has_its_bytes(medium: impl Medium) {
    let store = medium.open().await;
    for _ in 0..6 {
        let event = NewEvent::new("evaluate.deny").with("context", "x".repeat(10_000));
        let change = move |changeset: &mut Changeset<'_>| changeset.record(event);
        store.commit(at(0), Vec::new(), change).await.unwrap();
    }
    for filter in [
        EventFilter::default(),
        EventFilter::default().types(["evaluate.deny", "stop.set"]),
    ] {
        for (bytes, count) in [
            (0, 1),
            (1, 1),
            (10_000, 1),
            (15_000, 2),
            (40_000, 4),
            (1_000_000, 5),
        ] {
            let filter = filter.clone().most_bytes(bytes);
            let found = numbers(&store, 1, 10, filter.clone()).await;
            let expected: Vec<u64> = (2..2 + count).collect();
            assert_eq!(found, expected, "{bytes}");
            assert_eq!(store.count_events(&filter).await.unwrap(), 6);
        }
        let none = numbers(&store, 6, 10, filter.most_bytes(1)).await;
        assert!(none.is_empty());
    }
}

pub(crate) async fn what_is_dropped_is_gone_and_the_rest_verifies(medium: impl Medium) {
    let store = medium.open().await;
    for number in 0..20 {
        record(&store, "policy.loaded", None, at(number)).await;
    }
    let drop_through = async |through| {
        let drop = move |changeset: &mut Changeset<'_>| changeset.drop_events(through);
        store.commit(at(20), Vec::new(), drop).await.unwrap();
    };
    assert_eq!(store.status().await.unwrap().dropped, 0);
    drop_through(7).await;
    assert_eq!(store.status().await.unwrap().dropped, 7);
    assert_eq!(numbers(&store, 0, 2, EventFilter::default()).await, [8, 9]);
    let filter = EventFilter::default().types(["policy.loaded"]);
    assert_eq!(store.count_events(&filter).await.unwrap(), 13);
    assert_eq!(intact(&store).await, 13);

    // Dropped events stay dropped.
    drop_through(3).await;
    assert_eq!(store.status().await.unwrap().dropped, 7);
    assert_eq!(intact(&store).await, 13);

    // Future events cannot be dropped.
    drop_through(1_000).await;
    assert_eq!(store.status().await.unwrap().dropped, 20);
    assert_eq!(intact(&store).await, 0);
    assert_eq!(
        record(&store, "policy.loaded", None, at(21)).await.sequence,
        21
    );
    assert_eq!(intact(&store).await, 1);
}
