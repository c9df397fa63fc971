//! Permits, events and a settable clock for the tests of the stores.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::audit::Trail;
use atlasent::error::PermitOutcome;
use atlasent::wire::{EvaluateRequest, PermitToken, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority};
use atlasent_authority::store::{
    ApprovalEntry, ApprovalState, CellKey, Changeset, EscalationId, NewEvent, PermitEntry,
    PermitGrant, PermitKey, PermitState, Question, SealedEvent, Store, StoreError,
};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

/// The number of concurrent tasks.
pub(crate) const CROWD: usize = 64;

pub(crate) fn permit_all() -> Policies {
    Policies::parse("permit (principal, action, resource);").unwrap()
}

pub(crate) fn request() -> EvaluateRequest {
    request_of("deploy")
}

pub(crate) fn request_of(action: &'static str) -> EvaluateRequest {
    EvaluateRequest::new(Agent::new("bot").unwrap(), &AnyAction::new(action).unwrap()).unwrap()
}

pub(crate) fn question(token: &PermitToken) -> VerifyRequest {
    VerifyRequest::restating(&request(), token.clone())
}

pub(crate) fn key(name: &str) -> PermitKey {
    PermitKey::from_token(&PermitToken::new(name).unwrap())
}

pub(crate) fn cell(name: &str) -> Vec<CellKey> {
    vec![CellKey::Permit(key(name))]
}

/// Returns the time this many seconds after a moment in 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).unwrap()
}

/// A clock that tests set.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        move || at(self.0.load(Ordering::SeqCst))
    }
}

/// Returns a permit that lives for 10 seconds and is issued by the next event.
pub(crate) fn entry(changeset: &Changeset<'_>) -> PermitEntry {
    let grant = PermitGrant::new(&request(), None, permit_all().action_digest("deploy"));
    let event = ("event", changeset.head().sequence + 1);
    let end = changeset.time() + SignedDuration::from_secs(10);
    PermitEntry::issue(grant, event, changeset.time(), end)
}

/// Stores a permit and an event.
pub(crate) async fn issue(
    store: &impl Store,
    name: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = key(name);
    let change = move |changeset: &mut Changeset<'_>| {
        changeset.keep_permit(key, entry(changeset));
        changeset.record(NewEvent::new("evaluate.allow"));
    };
    store.commit(now, cell(name), change).await
}

/// Returns the id of a pending decision with a number.
pub(crate) fn escalation(number: usize) -> EscalationId {
    format!("esc_{number:032x}").parse().unwrap()
}

/// Returns a pending decision that waits for an hour and is opened by the next event.
pub(crate) fn pending(changeset: &Changeset<'_>, id: EscalationId) -> ApprovalEntry {
    let question = Question {
        agent: Agent::new("bot").unwrap(),
        actors: Vec::new(),
        action: "deploy".to_owned(),
        resource: Some("main".to_owned()),
        environment: None,
        action_hash: "a1".repeat(32),
        key_environment: None,
    };
    let (now, end) = (
        changeset.time(),
        changeset.time() + SignedDuration::from_hours(1),
    );
    let mut entry = ApprovalEntry::new(id, question, now, end);
    entry.sequence = changeset.head().sequence + 1;
    entry
}

/// Opens pending decisions, in one change.
pub(crate) async fn open_decisions(
    store: &impl Store,
    ids: Vec<EscalationId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let reads = ids.iter().flat_map(EscalationId::cells).collect();
    let change = move |changeset: &mut Changeset<'_>| {
        for id in ids {
            assert!(changeset.keep_approval(pending(changeset, id)));
            changeset.record(NewEvent::new("approval.requested"));
        }
    };
    store.commit(now, reads, change).await
}

/// Gives pending decisions a state, in one change. Returns whether all of them were written.
pub(crate) async fn decide(
    store: &impl Store,
    ids: Vec<EscalationId>,
    state: ApprovalState,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let reads = ids.iter().flat_map(EscalationId::cells).collect();
    let change = move |changeset: &mut Changeset<'_>| {
        let mut written = true;
        for id in ids {
            let mut entry = changeset.approval(id.key()).unwrap().clone();
            entry.state = state;
            written &= changeset.keep_approval(entry);
            changeset.record(NewEvent::new("approval.granted"));
        }
        written
    };
    store.commit(now, reads, change).await
}

/// Returns the count of the open decisions.
pub(crate) async fn open_count(store: &impl Store) -> u64 {
    let look = |changeset: &mut Changeset<'_>| changeset.open_approvals();
    let reads = vec![CellKey::OpenApprovals];
    store.commit(at(0), reads, look).await.unwrap()
}

/// Reads the stored state of a permit.
pub(crate) async fn state(store: &impl Store, name: &str) -> Option<PermitState> {
    let key = key(name);
    let look = move |changeset: &mut Changeset<'_>| changeset.permit(key).map(|entry| entry.state);
    store.commit(at(0), cell(name), look).await.unwrap()
}

/// Records an event of a type and an agent.
pub(crate) async fn record(
    store: &impl Store,
    kind: &'static str,
    agent: Option<&str>,
    now: Timestamp,
) -> Arc<SealedEvent> {
    let mut event = NewEvent::new(kind);
    event.actor_id = agent.map(|agent| Agent::new(agent).unwrap());
    let change = move |changeset: &mut Changeset<'_>| changeset.record(event);
    store.commit(now, Vec::new(), change).await.unwrap()
}

/// Returns the numbers of the events that pass the filter.
pub(crate) async fn numbers(
    store: &impl Store,
    after: u64,
    limit: usize,
    filter: EventFilter,
) -> Vec<u64> {
    let events = store.events(after, limit, &filter).await.unwrap();
    events.iter().map(|event| event.sequence).collect()
}

/// Asserts that the whole chain verifies, ends at the head, and has no gap. Returns its length.
pub(crate) async fn intact(store: &impl Store) -> u64 {
    let events = store
        .events(0, usize::MAX, &EventFilter::default())
        .await
        .unwrap();
    let status = store.status().await.unwrap();
    let expected: Vec<u64> = (status.dropped + 1..=status.head.sequence).collect();
    let found: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(found, expected);
    let times = events.iter().map(|event| &event.occurred_at);
    assert!(times.is_sorted());
    if let Some(last) = events.last() {
        assert_eq!(last.hash, status.head.hash);
    }
    let count = store.count_events(&EventFilter::default()).await.unwrap();
    assert_eq!(count, expected.len() as u64);
    let trail = Trail::new(
        events
            .iter()
            .map(|event| event.to_event().unwrap())
            .collect(),
    );
    assert!(trail.verify().is_intact());
    count
}

/// Asserts that each filter finds and counts exactly the events that pass it.
pub(crate) async fn agrees_with_every_filter(store: &impl Store) {
    let all = EventFilter::default();
    let events = store.events(0, usize::MAX, &all).await.unwrap();
    let sequences = |events: &[Arc<SealedEvent>]| -> Vec<u64> {
        events.iter().map(|event| event.sequence).collect()
    };
    let middle = |part: usize| events.get(events.len() * part / 4);
    let time = |part| middle(part).map(|event| event.occurred_at.parse().unwrap());
    let place = |part| middle(part).map_or(0, |event| event.sequence);
    let types: [&[&str]; 5] = [
        &[],
        &["evaluate.deny"],
        &["policy.loaded", "permit.verified"],
        &["stop.set", "evaluate.allow", "stop.set"],
        &["nothing"],
    ];
    for types in types {
        for actor in [None, Some("bot 1"), Some("bot 2"), Some("nobody")] {
            for (since, until) in [
                (None, None),
                (time(1), None),
                (None, time(2)),
                (time(1), time(3)),
            ] {
                let mut filter = all.clone().types(types.iter().copied());
                filter = actor.map_or(filter.clone(), |actor| filter.actor_id(actor));
                filter = since.map_or(filter.clone(), |time| filter.since(time));
                filter = until.map_or(filter.clone(), |time| filter.until(time));
                for filter in [filter.clone(), filter.through(place(3))] {
                    let passing = events.iter().filter(|event| filter.passes(event));
                    let passing: Vec<_> = passing.cloned().collect();
                    let count = store.count_events(&filter).await.unwrap();
                    assert_eq!(count, passing.len() as u64, "{filter:?}");
                    let found = store.events(0, usize::MAX, &filter).await.unwrap();
                    assert_eq!(found, passing, "{filter:?}");
                    let rest = passing.into_iter();
                    let rest = rest.filter(|event| event.sequence > place(2)).take(7);
                    let found = numbers(store, place(2), 7, filter).await;
                    assert_eq!(found, sequences(&rest.collect::<Vec<_>>()));
                }
            }
        }
    }
}

/// Issues a permit at an authority.
pub(crate) async fn token<S: Store>(authority: &LocalAuthority<S>) -> PermitToken {
    authority
        .evaluate(&request())
        .await
        .unwrap()
        .permit_token
        .unwrap()
}

/// Runs many tasks at once.
pub(crate) async fn crowd<T, F>(call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks = (0..CROWD).map(|number| tokio::spawn(call(number)));
    let ended = join_all(tasks).await;
    ended.into_iter().map(Result::unwrap).collect()
}

/// Lets many agents ask at once, each at one of the authorities. Returns the permits that they got,
/// with the numbers of the agents. All others have to be denied with the code.
pub(crate) async fn permits_of_a_crowd<S: Store>(
    authorities: &[Arc<LocalAuthority<S>>],
    request_by: fn(usize) -> EvaluateRequest,
    code: &str,
) -> Vec<(usize, PermitToken)> {
    let answers = crowd(|number| {
        let authority = Arc::clone(&authorities[number % authorities.len()]);
        async move { authority.evaluate(&request_by(number)).await.unwrap() }
    })
    .await;
    let denied = answers
        .iter()
        .filter(|answer| answer.code.as_deref() == Some(code));
    let denied = denied.count();
    let tokens = (0..).zip(answers);
    let tokens: Vec<_> = tokens
        .filter_map(|(number, answer)| Some((number, answer.permit_token?)))
        .collect();
    assert_eq!(denied + tokens.len(), CROWD);
    tokens
}

/// Runs one test of this program again, in the process of a given command.
pub(crate) fn passes_in_child(command: &mut Command, test: &str) {
    let output = command.args(["--exact", "--nocapture", test]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}

/// Asserts that one of many holders of a permit can use it, at any of these authorities.
pub(crate) async fn one_passes<S: Store>(
    authorities: &[Arc<LocalAuthority<S>>],
    token: PermitToken,
) {
    let answers = crowd(|number| {
        let authority = Arc::clone(&authorities[number % authorities.len()]);
        let question = question(&token);
        async move { authority.verify(&question).await.unwrap() }
    })
    .await;
    let valid = answers.iter().filter(|answer| answer.valid).count();
    let used = answers
        .iter()
        .filter(|answer| answer.permit_outcome() == Some(PermitOutcome::Consumed));
    assert_eq!((valid, used.count()), (1, CROWD - 1));
}
