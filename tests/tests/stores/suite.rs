//! The promises.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::audit::{ChainVerifier, Problem};
use atlasent::{
    Agent, AnyAction, Authority, EvaluateRequest, PermitToken, RequestOptions, VerifyRequest,
};
use atlasent_authority::{
    Answer, Caller, CellKey, Draft, EventFilter, Grant, LocalAuthority, NewEvent, PermitEntry,
    PermitKey, Policies, Store, StoreError,
};
use jiff::{SignedDuration, Timestamp};

use crate::places::Place;

const ALL: usize = usize::MAX;

fn policies() -> Policies {
    Policies::parse("permit (principal, action, resource);").unwrap()
}

pub(crate) async fn authority<S: Store>(store: S) -> Arc<LocalAuthority<S>> {
    let authority = LocalAuthority::builder(policies()).store(store).build();
    Arc::new(authority.await.unwrap())
}

pub(crate) fn request(agent: &str) -> EvaluateRequest {
    let action = AnyAction::new("deploy").unwrap();
    EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap()
}

fn named(id: &str) -> EvaluateRequest {
    request("bot").with_options(RequestOptions::default().request_id(id))
}

pub(crate) async fn issue<S: Store>(authority: &LocalAuthority<S>) -> PermitToken {
    let evaluation = authority.evaluate(&request("bot")).await.unwrap();
    evaluation.permit_token.unwrap()
}

pub(crate) async fn is_good<S: Store>(authority: &LocalAuthority<S>, token: &PermitToken) -> bool {
    let question = VerifyRequest::restating(&request("bot"), token.clone());
    authority.verify(&question).await.unwrap().valid
}

/// The whole chain verifies, from its first event on.
pub(crate) async fn intact<S: Store>(store: &S) -> u64 {
    let events = store.events(0, ALL, &EventFilter::default()).await.unwrap();
    let head = store.status().await.unwrap().head;
    let mut verifier = ChainVerifier::new();
    for event in &events {
        verifier.push(&event.to_event().unwrap());
    }
    let report = verifier.finish(Some(&head.hash), Some(events.len() as u64));
    assert!(report.is_intact(), "{:?}", report.findings);
    report.events
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn key(name: &str) -> PermitKey {
    PermitKey::of(&PermitToken::new(name).unwrap())
}

async fn keep<S: Store>(store: &S, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let key = key(name);
    let change = move |draft: &mut Draft<'_>| {
        let expires_at = draft.time() + SignedDuration::from_secs(60);
        let entry = PermitEntry::issue(Grant::of(&request("bot"), None), expires_at);
        draft.keep_permit(key, entry);
        draft.record(NewEvent::new("evaluate.allow"));
    };
    store.commit(now, vec![CellKey::Permit(key)], change).await
}

async fn knows<S: Store>(store: &S, name: &str, now: Timestamp) -> bool {
    let key = key(name);
    let change = move |draft: &mut Draft<'_>| draft.permit(key).is_some();
    let known = store.commit(now, vec![CellKey::Permit(key)], change).await;
    known.unwrap()
}

pub(crate) async fn a_change_is_kept_whole<P: Place>(place: &P) {
    let store = place.open().await;
    assert_eq!(store.status().await.unwrap().head.sequence, 0);
    keep(&store, "a", at(0)).await.unwrap();
    assert!(knows(&store, "a", at(0)).await && !knows(&store, "b", at(0)).await);
    let status = store.status().await.unwrap();
    assert_eq!((status.head.sequence, status.dropped), (1, 0));
    let events = store.events(0, ALL, &EventFilter::default()).await.unwrap();
    assert_eq!((events.len(), &events[0].hash), (1, &status.head.hash));
    assert_eq!(intact(&store).await, 1);
}

pub(crate) async fn of_many_who_use_a_permit_one_gets_it<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    for _ in 0..4 {
        let token = issue(&authority).await;
        let using = (0..64).map(|_| {
            let (authority, token) = (Arc::clone(&authority), token.clone());
            tokio::spawn(async move { is_good(&authority, &token).await })
        });
        let using: Vec<_> = using.collect();
        let mut good = 0;
        for using in using {
            good += u32::from(using.await.unwrap());
        }
        assert_eq!(good, 1);
    }
    intact(authority.store()).await;
}

pub(crate) async fn a_permit_is_used_or_revoked_and_not_both<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    for _ in 0..16 {
        let token = issue(&authority).await;
        let (one, other) = (Arc::clone(&authority), token.clone());
        let using = tokio::spawn(async move { is_good(&one, &other).await });
        let revoked = authority.revoke(&token, "").await.unwrap().revoked;
        assert_ne!(using.await.unwrap(), revoked);
    }
}

pub(crate) async fn what_is_recorded_at_the_same_time_is_one_chain<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    let recording = (0..200).map(|n| {
        let authority = Arc::clone(&authority);
        tokio::spawn(async move {
            let answer = authority.evaluate(&request(&format!("bot-{n}"))).await;
            answer.unwrap().audit_hash.unwrap()
        })
    });
    let recording: Vec<_> = recording.collect();
    let mut told = Vec::new();
    for recording in recording {
        told.push(recording.await.unwrap());
    }
    assert_eq!(intact(authority.store()).await, 201);
    let events = authority
        .events(0, ALL, &EventFilter::default())
        .await
        .unwrap();
    let kept: Vec<_> = events.iter().map(|event| &event.hash).collect();
    assert!(told.iter().all(|hash| kept.contains(&hash)));
}

pub(crate) async fn a_change_that_panics_keeps_nothing_and_harms_nobody<P: Place>(place: &P) {
    atlasent_tests::quiet_panics();
    let store = Arc::new(place.open().await);
    keep(&*store, "before", at(0)).await.unwrap();
    let broken = Arc::clone(&store);
    let panicking = tokio::spawn(async move {
        let change = |draft: &mut Draft<'_>| {
            draft.record(NewEvent::new("evaluate.allow"));
            panic!("scripted");
        };
        broken.commit(at(1), Vec::new(), change).await
    });
    // It comes back as an error, or as the panic that it is.
    assert!(!matches!(panicking.await, Ok(Ok(()))));
    keep(&*store, "after", at(2)).await.unwrap();
    assert!(knows(&*store, "before", at(2)).await && knows(&*store, "after", at(2)).await);
    assert_eq!(intact(&*store).await, 2);
}

pub(crate) async fn a_clock_that_is_set_back_turns_nothing_back<P: Place>(place: &P) {
    let store = place.open().await;
    keep(&store, "a", at(100)).await.unwrap();
    let time = store.commit(at(50), Vec::new(), |draft| {
        draft.record(NewEvent::new("policy.loaded"));
        draft.time()
    });
    assert_eq!(time.await.unwrap(), at(100));
    let events = store.events(0, ALL, &EventFilter::default()).await.unwrap();
    let mut verifier = ChainVerifier::new();
    for event in &events {
        verifier.push(&event.to_event().unwrap());
    }
    let report = verifier.finish(None, None);
    let backwards = Problem::TimeRunsBackwards;
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.problem != backwards)
    );
}

pub(crate) async fn the_same_request_gets_the_same_answer<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    let (one, other) = (Caller::new("one", b"1"), Caller::new("other", b"2"));
    let first = authority.answer(one, &named("r"), None).await.unwrap();
    let Answer::First(first) = first else {
        panic!("{first:?}")
    };
    let again = authority.answer(one, &named("r"), None).await.unwrap();
    assert_eq!(again, Answer::Repeated(first.clone()));
    let mut changed = named("r");
    changed.resource_id = Some("another".to_owned());
    let conflict = authority.answer(one, &changed, None).await.unwrap();
    assert_eq!(conflict, Answer::Conflict);
    let others = authority.answer(other, &named("r"), None).await.unwrap();
    let Answer::First(others) = others else {
        panic!("{others:?}")
    };
    assert_ne!(others.permit_token, first.permit_token);
    // Only what was decided is on record: the start, and two evaluations.
    assert_eq!(intact(authority.store()).await, 3);
    // A permit that was used is used in the repeated answer, too.
    assert!(is_good(&authority, &first.permit_token.unwrap()).await);
    let Answer::Repeated(again) = authority.answer(one, &named("r"), None).await.unwrap() else {
        panic!("it was decided anew");
    };
    assert!(!is_good(&authority, &again.permit_token.unwrap()).await);
}

pub(crate) async fn the_same_request_at_the_same_time_mints_one_permit<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    let asking = (0..32).map(|_| {
        let authority = Arc::clone(&authority);
        tokio::spawn(async move {
            let caller = Caller::new("one", b"1");
            match authority.answer(caller, &named("r"), None).await.unwrap() {
                Answer::First(answer) | Answer::Repeated(answer) => answer.permit_token.unwrap(),
                Answer::Conflict => panic!("it is the same request"),
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut tokens = Vec::new();
    for asking in asking {
        tokens.push(asking.await.unwrap());
    }
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(intact(authority.store()).await, 2);
}

pub(crate) async fn an_answer_is_repeated_as_long_as_its_permit_is_good<P: Place>(place: &P) {
    let time = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&time);
    let authority = LocalAuthority::builder(policies())
        .store(place.open().await)
        .clock(move || at(clock.load(Ordering::SeqCst)))
        .permit_ttl(Duration::from_secs(60))
        .build()
        .await
        .unwrap();
    let caller = Caller::new("one", b"1");
    let ask = async || match authority.answer(caller, &named("r"), None).await.unwrap() {
        Answer::First(answer) => (true, answer.permit_token),
        Answer::Repeated(answer) => (false, answer.permit_token),
        Answer::Conflict => panic!("it is the same request"),
    };
    let first = ask().await;
    time.store(59, Ordering::SeqCst);
    assert_eq!(ask().await, (false, first.1.clone()));
    time.store(60, Ordering::SeqCst);
    let anew = ask().await;
    assert!(anew.0 && anew.1 != first.1);
    let old = VerifyRequest::restating(&named("r"), first.1.unwrap());
    let refused = authority.verify(&old).await.unwrap();
    assert_eq!(refused.outcome.as_deref(), Some("permit_expired"));
}

pub(crate) async fn events_are_found_by_what_they_are<P: Place>(place: &P) {
    let store = place.open().await;
    for n in 0..10_u8 {
        let change = move |draft: &mut Draft<'_>| {
            let kind = if n % 2 == 0 {
                "evaluate.allow"
            } else {
                "evaluate.deny"
            };
            let mut event = NewEvent::new(kind);
            event.actor_id = Some(Agent::new(format!("bot-{}", n % 3)).unwrap());
            draft.record(event);
        };
        store
            .commit(at(n.into()), Vec::new(), change)
            .await
            .unwrap();
    }
    let all = EventFilter::default();
    let found = async |after, limit, filter: &EventFilter| -> Vec<u64> {
        let events = store.events(after, limit, filter).await.unwrap();
        events.iter().map(|event| event.sequence).collect()
    };
    let denied = all.clone().types(["evaluate.deny", "evaluate.hold"]);
    let stretch = all.clone().since(at(3)).until(at(5));
    let one = all.clone().actor_id("bot-1");
    for (filter, sequences) in [
        (&all, (1..=10).collect::<Vec<_>>()),
        (&denied, vec![2, 4, 6, 8, 10]),
        (&one, vec![2, 5, 8]),
        (&one.clone().types(["evaluate.allow"]), vec![5]),
        (&stretch, vec![4, 5, 6]),
        (&all.clone().through(3), vec![1, 2, 3]),
        (&all.clone().actor_id("nobody"), vec![]),
    ] {
        assert_eq!(found(0, ALL, filter).await, sequences, "{filter:?}");
        let count = store.count_events(filter).await.unwrap();
        assert_eq!(count, sequences.len() as u64, "{filter:?}");
        let paged: Vec<_> = sequences
            .iter()
            .copied()
            .filter(|n| *n > 4)
            .take(2)
            .collect();
        assert_eq!(found(4, 2, filter).await, paged, "{filter:?}");
    }
    assert_eq!(found(10, 5, &all).await, [] as [u64; 0]);
    assert_eq!(found(u64::MAX, 5, &all).await, [] as [u64; 0]);
}

pub(crate) async fn old_events_go_and_the_rest_still_verifies<P: Place>(place: &P) {
    let store = place.open().await;
    for n in 0..10 {
        keep(&store, &n.to_string(), at(n)).await.unwrap();
    }
    let drop = |draft: &mut Draft<'_>| {
        draft.record(NewEvent::new("audit.archived"));
        draft.drop_events(7);
    };
    store.commit(at(10), Vec::new(), drop).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.dropped, status.head.sequence), (7, 11));
    assert_eq!(intact(&store).await, 4);
    assert_eq!(
        store.count_events(&EventFilter::default()).await.unwrap(),
        4
    );
    keep(&store, "later", at(11)).await.unwrap();
    assert_eq!(intact(&store).await, 5);
}

pub(crate) async fn calls_are_counted_exactly<P: Place>(place: &P) {
    let store = Arc::new(place.open().await);
    let counting = (0..100).map(|n| {
        let store = Arc::clone(&store);
        let counter = if n % 4 == 0 { "few" } else { "many" };
        tokio::spawn(async move { (counter, store.count_call(counter, 7).await.unwrap()) })
    });
    let counting: Vec<_> = counting.collect();
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for counting in counting {
        match counting.await.unwrap() {
            ("few", count) => few.push(count),
            (_, count) => many.push(count),
        }
    }
    few.sort_unstable();
    many.sort_unstable();
    assert!(few.iter().copied().eq(1..=25) && many.iter().copied().eq(1..=75));
    // The next minute begins anew; a clock that is behind gives nothing back.
    assert_eq!(store.count_call("few", 8).await.unwrap(), 1);
    assert_eq!(store.count_call("few", 7).await.unwrap(), 2);
}

pub(crate) async fn whoever_stops_waiting_leaves_no_half_of_a_change<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    for n in 0..50_u64 {
        let request = request("bot");
        let waiting = authority.evaluate(&request);
        tokio::select! {
            biased;
            () = async { if n % 2 == 0 { tokio::task::yield_now().await } else { pending().await } } => {}
            _ = waiting => {}
        }
    }
    let token = issue(&authority).await;
    assert!(is_good(&authority, &token).await);
    let status = authority.store().status().await.unwrap();
    assert_eq!(intact(authority.store()).await, status.head.sequence);
}

pub(crate) async fn any_name_is_kept_as_it_is<P: Place>(place: &P) {
    let authority = authority(place.open().await).await;
    for name in [
        "J\u{fc}rgen \u{1f916}",
        "a'b\"c\\d",
        "\u{2028}",
        "tab\there",
        "DROP TABLE x;--",
    ] {
        let Ok(agent) = Agent::new(name) else {
            continue;
        };
        let mut request = request("bot");
        request.actor_id = agent;
        request.resource_id = Some(format!("resource\u{0}{name}"));
        authority.evaluate(&request).await.unwrap();
        let filter = EventFilter::default().actor_id(name);
        let events = authority.events(0, ALL, &filter).await.unwrap();
        assert_eq!(events.len(), 1, "{name:?}");
        assert_eq!(events[0].envelope.resource_id, request.resource_id);
    }
    intact(authority.store()).await;
}
