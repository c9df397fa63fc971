//! Organizations share a medium, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::StopScope;
use atlasent_authority::LocalAuthority;
use atlasent_authority::store::{
    CellKey, Changeset, NewEvent, OrgId, Organizations, PermitState, RateCounter, Store, StoreError,
};
use atlasent_authority::trail::EventFilter;

use crate::media::Medium;
use crate::support::{
    Time, at, cell, crowd, entry, intact, issue, key, numbers, permit_all, question, record, state,
    token,
};

fn org(id: &str) -> OrgId {
    id.parse().unwrap()
}

/// Opens the store, and creates two organizations.
pub(crate) async fn two<M: Medium>(medium: &M) -> [M::Store; 2] {
    let store = medium.open().await;
    let ids = [org("one"), org("two")];
    for id in &ids {
        assert!(store.create_organization(id).await.unwrap());
        assert!(!store.create_organization(id).await.unwrap());
    }
    ids.map(|id| store.organization(&id))
}

async fn authority<S: Store>(store: S) -> LocalAuthority<S> {
    LocalAuthority::builder(permit_all())
        .clock(Time::default().clock())
        .store(store)
        .build()
        .await
        .unwrap()
}

pub(crate) async fn an_organization_sees_nothing_of_another(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    // Cells, events, permits and counters of one, under names that the other one asks for.
    issue(&one, "a", at(0)).await.unwrap();
    record(&one, "evaluate.deny", Some("bot"), at(1)).await;
    assert_eq!(one.count_call("key", 1).await.unwrap(), 1);
    assert_eq!(state(&two, "a").await, None);
    assert_eq!(intact(&two).await, 0);
    let by_type = EventFilter::default().types(["evaluate.deny"]);
    for filter in [
        EventFilter::default(),
        by_type.clone(),
        EventFilter::default().actor_id("bot"),
        EventFilter::default().since(at(0)),
        by_type.until(at(9)),
    ] {
        assert!(numbers(&two, 0, 9, filter.clone()).await.is_empty());
        assert_eq!(two.count_events(&filter).await.unwrap(), 0);
    }
    assert!(two.permits(u64::MAX, 9).await.unwrap().is_empty());
    let id = key("a").id();
    assert_eq!(one.permit_key(id).await.unwrap(), Some(key("a")));
    assert_eq!(two.permit_key(id).await.unwrap(), None);
    assert_eq!(two.count_call("key", 1).await.unwrap(), 1);
    let status = two.status().await.unwrap();
    assert_eq!(
        (status.head.sequence, status.dropped, status.cells),
        (0, 0, 0)
    );
    assert_eq!(&*status.head.org_id, "two");

    // What the other one writes under the same names changes nothing either.
    let overwrite = move |changeset: &mut Changeset<'_>| {
        let mut entry = entry(changeset);
        entry.state = PermitState::Consumed;
        changeset.keep_permit(key("a"), entry);
        changeset.record(NewEvent::new("permit.verified"));
        changeset.drop_events(9);
    };
    two.commit(at(5), cell("a"), overwrite).await.unwrap();
    assert_eq!(state(&one, "a").await, Some(PermitState::Issued));
    assert_eq!(intact(&one).await, 2);
    assert_eq!(one.status().await.unwrap().dropped, 0);

    // Expired cells of one are not forgotten by the time of the other.
    issue(&two, "late", at(1_000_000)).await.unwrap();
    assert_eq!(state(&one, "a").await, Some(PermitState::Issued));

    // A permit, a stop and a stop's end are the organization's own.
    let (one, two) = (authority(one).await, authority(two).await);
    let permit = token(&one).await;
    assert!(!verifies(&two, &permit).await);
    two.stop(StopScope::all(), "test", None).await.unwrap();
    assert!(verifies(&one, &permit).await);
    assert!(one.stops().await.unwrap().is_empty());
}

pub(crate) async fn a_chain_keeps_the_organization_that_it_began_with(medium: impl Medium) {
    let store = medium.open().await;
    let began = store.commit(at(0), Vec::new(), |changeset| {
        changeset.set_org_id("acme");
        changeset.record(NewEvent::new("policy.loaded"));
    });
    began.await.unwrap();
    let later = store.commit(at(1), Vec::new(), |changeset| {
        changeset.set_org_id("other");
        changeset.record(NewEvent::new("policy.loaded"));
    });
    later.await.unwrap();
    assert_eq!(&*store.status().await.unwrap().head.org_id, "acme");
    let events = store.events(0, 9, &EventFilter::default()).await.unwrap();
    let orgs: Vec<_> = events
        .iter()
        .map(|event| event.to_event().unwrap().envelope.org_id)
        .collect();
    assert_eq!(orgs, ["acme", "acme"]);
}

pub(crate) async fn times_and_counts_are_those_of_the_own_chain(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    for second in [0, 10] {
        record(&one, "evaluate.deny", Some("bot"), at(second)).await;
    }
    for second in 1..6 {
        record(&two, "evaluate.deny", Some("bot"), at(second)).await;
    }
    let all = EventFilter::default();
    for filter in [
        all.clone(),
        all.clone().types(["evaluate.deny"]),
        all.actor_id("bot"),
    ] {
        let (since, until) = (filter.clone().since(at(5)), filter.until(at(5)));
        for (store, filter, expected) in [
            (&one, &until, &[1][..]),
            (&two, &until, &[1, 2, 3, 4, 5]),
            (&one, &since, &[2]),
            (&two, &since, &[5]),
        ] {
            let found = numbers(store, 0, 9, filter.clone()).await;
            assert_eq!(found, expected, "{filter:?}");
            let count = store.count_events(filter).await.unwrap();
            assert_eq!(count, expected.len() as u64, "{filter:?}");
        }
    }
}

pub(crate) async fn changes_that_share_a_transaction_see_their_own_cells(medium: impl Medium) {
    let store = medium.open().await;
    let mut stores = Vec::new();
    for number in 0..16 {
        let id = org(&format!("org-{number}"));
        store.create_organization(&id).await.unwrap();
        let store = store.organization(&id);
        issue(&store, "a", at(0)).await.unwrap();
        if number % 2 == 1 {
            let consume = |changeset: &mut Changeset<'_>| {
                let mut entry = changeset.permit(key("a")).unwrap().clone();
                entry.state = PermitState::Consumed;
                changeset.keep_permit(key("a"), entry);
            };
            store.commit(at(0), cell("a"), consume).await.unwrap();
        }
        stores.push(Arc::new(store));
    }
    crowd(|number| {
        let number = number % stores.len();
        let store = Arc::clone(&stores[number]);
        async move {
            let expected = [PermitState::Issued, PermitState::Consumed][number % 2];
            for _ in 0..4 {
                assert_eq!(state(&*store, "a").await, Some(expected));
            }
        }
    })
    .await;
}

pub(crate) async fn a_cell_is_forgotten_at_the_end_of_its_own_time<M: Medium>(medium: M) {
    let [one, two] = two(&medium).await;
    // Two cells with the same name: the one of `one` is in force, and the one of `two` has expired.
    issue(&two, "a", at(0)).await.unwrap();
    issue(&one, "a", at(999_995)).await.unwrap();
    for store in [&one, &two, &one, &two] {
        record(store, "policy.loaded", None, at(1_000_000)).await;
        assert_eq!(state(&one, "a").await, Some(PermitState::Issued));
    }
    if M::TIDIES {
        assert_eq!(state(&two, "a").await, None);
    }
    intact(&one).await;
}

pub(crate) async fn events_that_one_organization_drops_stay_in_another(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    for store in [&one, &two] {
        for second in 0..6 {
            record(store, "evaluate.deny", Some("bot"), at(second)).await;
        }
    }
    let drop_four = |changeset: &mut Changeset<'_>| changeset.drop_events(4);
    two.commit(at(9), Vec::new(), drop_four).await.unwrap();
    // A store may remove dropped events after the change, when it has nothing else to do.
    for second in 10..20 {
        record(&two, "policy.loaded", None, at(second)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(intact(&one).await, 6);
    }
    let all = EventFilter::default();
    assert_eq!(numbers(&two, 0, 99, all).await.first(), Some(&5));
}

async fn verifies<S: Store>(
    authority: &LocalAuthority<S>,
    token: &atlasent::wire::PermitToken,
) -> bool {
    use atlasent::Authority;
    authority.verify(&question(token)).await.unwrap().valid
}

pub(crate) async fn an_unknown_organization_is_refused_and_not_created(medium: impl Medium) {
    let store = medium.open().await;
    issue(&store, "a", at(0)).await.unwrap();
    let unknown = store.organization(&org("nobody"));
    for _ in 0..2 {
        let key = cell("a");
        let look = |changeset: &mut Changeset<'_>| drop(changeset.record(NewEvent::new("x")));
        let results = [
            unknown.commit(at(0), key, look).await.err(),
            unknown.events(0, 9, &EventFilter::default()).await.err(),
            unknown.count_events(&EventFilter::default()).await.err(),
            unknown
                .count_events(&EventFilter::default().actor_id("bot"))
                .await
                .err(),
            unknown.permits(9, 9).await.err(),
            unknown
                .permit_key(crate::support::key("a").id())
                .await
                .err(),
            unknown.status().await.err(),
        ];
        for error in results {
            let error = error.unwrap();
            assert!(
                matches!(error, StoreError::UnknownOrganization(_)),
                "{error}"
            );
            assert_eq!(error.to_string(), "there is no organization `nobody`");
        }
    }
    // The store works on, for those who exist.
    assert_eq!(intact(&store).await, intact(&store).await);
    issue(&store, "b", at(0)).await.unwrap();
    assert!(store.create_organization(&org("nobody")).await.unwrap());
    assert_eq!(unknown.status().await.unwrap().head.sequence, 0);
}

pub(crate) async fn organizations_are_listed_in_the_order_of_their_ids(medium: impl Medium) {
    let store = medium.open().await;
    assert!(!store.create_organization(&OrgId::local()).await.unwrap());
    let before = store.organizations(None, 99).await.unwrap();
    for id in ["b", "a-1", "a", "a_1", "z", "0"] {
        assert!(store.create_organization(&org(id)).await.unwrap());
    }
    let all = store.organizations(None, 99).await.unwrap();
    let new: Vec<_> = all.iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(
        new,
        ["0", "a", "a-1", "a_1", "b", "z"]
            .map(org)
            .iter()
            .collect::<Vec<_>>()
    );
    let mut found = Vec::new();
    while let [first, second] = &*store.organizations(found.last(), 2).await.unwrap() {
        found.extend([first.clone(), second.clone()]);
    }
    assert_eq!(found, all[..all.len() / 2 * 2]);
}

pub(crate) async fn changes_of_many_organizations_make_a_chain_of_each(medium: impl Medium) {
    let store = medium.open().await;
    let ids: Vec<_> = (0..8).map(|number| org(&format!("org-{number}"))).collect();
    for id in &ids {
        store.create_organization(id).await.unwrap();
    }
    let stores: Vec<_> = ids
        .iter()
        .map(|id| Arc::new(store.organization(id)))
        .collect();
    crowd(|number| {
        let store = Arc::clone(&stores[number % stores.len()]);
        async move {
            for round in 0..4 {
                issue(&*store, &format!("{number} {round}"), at(round))
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    for (store, id) in stores.iter().zip(&ids) {
        assert_eq!(intact(&**store).await, 32);
        assert_eq!(&*store.status().await.unwrap().head.org_id, id.as_str());
        assert_eq!(store.permits(u64::MAX, 99).await.unwrap().len(), 32);
    }
}

pub(crate) async fn a_change_that_panics_harms_no_other_organization(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    let (one, two) = (Arc::new(one), Arc::new(two));
    // The changes of both meet in the same transactions. In memory, the panic ends the caller's
    // task.
    crowd(|number| {
        let (one, two) = (Arc::clone(&one), Arc::clone(&two));
        async move {
            let task = tokio::spawn(async move {
                if number % 2 == 0 {
                    let event = NewEvent::new("policy.loaded");
                    let keep = |changeset: &mut Changeset<'_>| drop(changeset.record(event));
                    return two.commit(at(0), Vec::new(), keep).await.is_ok();
                }
                let panics = |changeset: &mut Changeset<'_>| {
                    changeset.record(NewEvent::new("policy.loaded"));
                    panic!("a fault that a test injected")
                };
                one.commit::<()>(at(0), vec![CellKey::Stops], panics)
                    .await
                    .is_ok()
            });
            assert_eq!(task.await.unwrap_or(false), number % 2 == 0);
        }
    })
    .await;
    assert_eq!(intact(&*two).await, 32);
    assert_eq!(intact(&*one).await, 0);
    record(&*one, "policy.loaded", None, at(0)).await;
    assert_eq!(intact(&*one).await, 1);
}

pub(crate) async fn organizations_are_found_again(medium: impl Medium) {
    let [one, two] = two(&medium).await;
    issue(&one, "a", at(0)).await.unwrap();
    issue(&two, "b", at(0)).await.unwrap();
    let before = (one.status().await.unwrap(), two.status().await.unwrap());
    drop((one, two));

    let store = medium.open().await;
    let [one, two] = ["one", "two"].map(|id| store.organization(&org(id)));
    assert_eq!(
        (one.status().await.unwrap(), two.status().await.unwrap()),
        before
    );
    assert_eq!(state(&one, "a").await, Some(PermitState::Issued));
    assert_eq!(state(&one, "b").await, None);
    assert!(!store.create_organization(&org("one")).await.unwrap());
    assert_eq!(record(&two, "policy.loaded", None, at(0)).await.sequence, 2);
}
