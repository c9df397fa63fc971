//! Stores that lost events: the server does not sign the rest as a whole trail. Events that another
//! process archives are not lost.

use std::ops::RangeInclusive;
use std::sync::Arc;

use atlasent_authority::permits::PermitId;
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{
    ApprovalEntry, ApprovalKey, ApprovalList, CellKey, Changeset, NewEvent, PermitEntry, PermitKey,
    SealedEvent, Store, StoreError, StoreStatus,
};
use atlasent_authority::trail::{EventFilter, export};
use atlasent_authority::{LocalAuthority, MemoryStore, SystemClock};
use jiff::Timestamp;

/// A store in memory that has lost some events.
struct Cut {
    store: MemoryStore,
    lost: RangeInclusive<u64>,
    /// The last event that another process archives while this one counts the events; 0 for none.
    archived_meanwhile: u64,
}

impl Store for Cut {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.commit(now, reads, change).await
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let mut events = self.store.events(after, usize::MAX, filter).await?;
        events.retain(|event| !self.lost.contains(&event.sequence));
        events.truncate(limit);
        Ok(events)
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        let count = self.events(0, usize::MAX, filter).await?.len() as u64;
        let through = self.archived_meanwhile;
        if through > 0 {
            let drop_some = move |changeset: &mut Changeset<'_>| changeset.drop_events(through);
            self.commit(second(10), Vec::new(), drop_some).await?;
        }
        Ok(count)
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        self.store.permits(before, limit).await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        self.store.permit_key(id).await
    }

    async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, StoreError> {
        self.store.approvals(list, before, limit).await
    }

    async fn approval(&self, key: ApprovalKey) -> Result<Option<ApprovalEntry>, StoreError> {
        self.store.approval(key).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.store.status().await
    }
}

fn second(second: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::try_from(second).unwrap()).unwrap()
}

/// Returns ten events, one a second, of two alternating types, without the removed ones.
async fn ten_without(lost: RangeInclusive<u64>) -> Cut {
    let store = MemoryStore::new();
    for number in 1..=10 {
        let kind = ["evaluate.allow", "evaluate.deny"][usize::from(number % 2 == 0)];
        let change =
            move |changeset: &mut Changeset<'_>| drop(changeset.record(NewEvent::new(kind)));
        store
            .commit(second(number), Vec::new(), change)
            .await
            .unwrap();
    }
    Cut {
        store,
        lost,
        archived_meanwhile: 0,
    }
}

#[expect(clippy::reversed_empty_ranges, reason = "no event is lost")]
const NONE: RangeInclusive<u64> = 1..=0;

fn from_to(from: u64, to: u64) -> EventFilter {
    EventFilter::default().since(second(from)).until(second(to))
}

#[tokio::test]
async fn a_trail_that_lacks_events_is_not_signed() {
    let keys = KeyRing::in_memory().unwrap();
    let all = EventFilter::default();
    let deny = all.clone().types(["evaluate.deny"]);
    let cases = [
        (8..=10, &all, "events 8 to 10 are missing"),
        (10..=10, &all, "event 10 is missing"),
        (1..=1, &all, "event 1 is missing"),
        (1..=3, &all, "events 1 to 3 are missing"),
        (4..=6, &all, "events 4 to 6 are missing"),
        (1..=10, &all, "event 1 is missing"),
        // The removed stretch itself, and the events next to it.
        (5..=5, &from_to(4, 6), "event 5 is missing"),
        (4..=4, &from_to(4, 6), "event 4 is missing"),
        (6..=6, &from_to(4, 6), "event 6 is missing"),
        (4..=6, &from_to(4, 6), "event 6 is missing"),
        (
            9..=10,
            &all.clone().since(second(4)),
            "events 9 to 10 are missing",
        ),
        (
            1..=2,
            &all.clone().until(second(4)),
            "events 1 to 2 are missing",
        ),
        // A filtered export has gaps. The ends of the chain must be present.
        (9..=10, &deny, "event 10 is missing"),
        (1..=1, &deny, "event 1 is missing"),
    ];
    for (lost, filter, expected) in cases {
        let store = ten_without(lost.clone()).await;
        let error = export(&store, filter, &keys, &SystemClock)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Incomplete(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains(expected), "{lost:?}: {text}");
        assert!(text.contains("restore a backup"), "{text}");
    }
    let whole = ten_without(NONE).await;
    let empty = from_to(100, 200);
    for filter in [
        &all,
        &from_to(4, 6),
        &deny,
        &empty,
        &from_to(0, 0),
        &from_to(6, 4),
    ] {
        export(&whole, filter, &keys, &SystemClock).await.unwrap();
    }
}

async fn authority_on(store: Cut) -> LocalAuthority<Cut> {
    let policies = atlasent_authority::Policies::parse("permit (principal, action, resource);");
    let authority = LocalAuthority::builder(policies.unwrap()).store(store);
    authority.build().await.unwrap()
}

#[tokio::test]
async fn a_trail_that_lacks_events_is_not_archived() {
    let keys = KeyRing::in_memory().unwrap();
    for lost in [1..=2, 3..=3, 4..=5, 11..=11] {
        let authority = authority_on(ten_without(lost.clone()).await).await;
        let kept = authority
            .archive(second(6), &keys, |_, _, _| {
                panic!("a bundle of an incomplete trail")
            })
            .await;
        let error = kept.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("missing"), "{lost:?}: {cause}");
        assert_eq!(authority.store().status().await.unwrap().dropped, 0);
    }
}

#[tokio::test]
async fn events_that_another_process_archives_meanwhile_are_no_failure() {
    let keys = KeyRing::in_memory().unwrap();
    let mut store = ten_without(NONE).await;
    store.archived_meanwhile = 4;
    let authority = authority_on(store).await;
    let archived = authority.archive(second(8), &keys, |_, _, _| {
        panic!("a bundle that lacks its first events")
    });
    assert_eq!(archived.await.unwrap(), None);
    assert_eq!(authority.store().status().await.unwrap().dropped, 4);
}

#[tokio::test]
async fn the_rest_of_an_archived_trail_is_whole() {
    let keys = KeyRing::in_memory().unwrap();
    let mut store = ten_without(NONE).await;
    let drop_some = |changeset: &mut Changeset<'_>| changeset.drop_events(4);
    store
        .commit(second(10), Vec::new(), drop_some)
        .await
        .unwrap();
    export(&store, &EventFilter::default(), &keys, &SystemClock)
        .await
        .unwrap();
    export(&store, &from_to(2, 7), &keys, &SystemClock)
        .await
        .unwrap();
    store.lost = 5..=6;
    let error = export(&store, &EventFilter::default(), &keys, &SystemClock).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("events 5 to 6 are missing"), "{text}");
}
