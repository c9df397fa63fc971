//! Dropped, repeated, swapped, cut off and resealed events: each gets its own finding.

use atlasent::audit::{
    Envelope, Event, Finding, GENESIS_HASH, Payload, Problem, Trail, chain_hash,
};
use serde_json::{Map, Value, json};

use crate::story::Story;

fn trail() -> Trail {
    Story::with_all_operations(false).trail()
}

fn problems(trail: &Trail) -> Vec<Problem> {
    let findings = trail.verify().findings;
    findings.iter().map(|finding| finding.problem).collect()
}

/// Returns the findings about one event.
fn about(findings: &[Finding], sequence: u64) -> Vec<Problem> {
    (findings.iter())
        .filter(|finding| finding.sequence == Some(sequence))
        .map(|finding| finding.problem)
        .collect()
}

/// Returns the trail with a head and a count that match its events: the best forgery without
/// access to the original head.
fn recounted(events: Vec<Event>) -> Trail {
    Trail::new(events)
}

/// Repeats the event's envelope in its payload, and sets the matching hash.
fn sealed(mut event: Event) -> Event {
    if let Value::Object(envelope) = json!(event.envelope) {
        event.payload = with(&event, envelope);
    }
    event.hash = chain_hash(&event.previous_hash, &event.payload);
    event
}

/// Returns the payload with some fields replaced.
fn with(event: &Event, fields: Map<String, Value>) -> Payload {
    let mut all: Map<String, Value> = event.payload.parse().unwrap();
    all.extend(fields);
    Payload::new(&all).unwrap()
}

/// The payload with another reason.
fn excused(event: &Event) -> Payload {
    let reason = [("reason".to_owned(), json!("all is well"))];
    with(event, reason.into_iter().collect())
}

/// Applies `change` to one event, and seals it and all later events again.
fn resealed(mut trail: Trail, at: usize, change: impl FnOnce(&mut Event)) -> Trail {
    change(&mut trail.events[at]);
    for index in at..trail.events.len() {
        let mut event = trail.events[index].clone();
        if index > 0 {
            event
                .previous_hash
                .clone_from(&trail.events[index - 1].hash);
        }
        trail.events[index] = sealed(event);
    }
    recounted(trail.events)
}

#[test]
fn an_untouched_trail_and_each_stretch_of_it_are_intact() {
    let trail = trail();
    let count = trail.events.len();
    assert!(trail.verify().is_intact());
    assert!(recounted(Vec::new()).verify().is_intact());
    for from in 0..count {
        for to in from..=count {
            assert!(
                recounted(trail.events[from..to].to_vec())
                    .verify()
                    .is_intact()
            );
        }
    }
}

#[test]
fn a_dropped_event_is_found() {
    let whole = trail();
    let last = whole.events.len() - 1;
    for at in 0..=last {
        let mut trail = whole.clone();
        trail.events.remove(at);
        let mut expected = match at {
            // A trail may begin at any event, but its count must match.
            0 => vec![],
            _ if at == last => vec![Problem::WrongHead],
            _ => vec![
                Problem::NotAdjacent,
                Problem::HashMismatch,
                Problem::SequenceGap,
            ],
        };
        expected.push(Problem::WrongCount);
        assert_eq!(problems(&trail), expected, "without event {}", at + 1);

        let report = recounted(trail.events).verify();
        assert_eq!(
            report.is_intact(),
            at == 0 || at == last,
            "without event {}",
            at + 1
        );
    }
}

#[test]
fn a_repeated_event_is_found() {
    let whole = trail();
    for at in 0..whole.events.len() {
        let mut trail = whole.clone();
        trail.events.insert(at, whole.events[at].clone());
        let found = problems(&trail);
        for problem in [
            Problem::NotAdjacent,
            Problem::SequenceGap,
            Problem::WrongCount,
        ] {
            assert!(
                found.contains(&problem),
                "event {} twice: {found:?}",
                at + 1
            );
        }
        assert!(!recounted(trail.events).verify().is_intact());
    }
}

#[test]
fn swapped_events_are_found() {
    let whole = trail();
    let count = whole.events.len();
    for a in 0..count {
        for b in a + 1..count {
            let mut trail = whole.clone();
            trail.events.swap(a, b);
            let found = problems(&trail);
            for problem in [Problem::NotAdjacent, Problem::SequenceGap] {
                assert!(found.contains(&problem), "{a} and {b}: {found:?}");
            }
            assert!(!recounted(trail.events).verify().is_intact());
        }
    }
}

#[test]
fn a_trail_that_was_cut_off_is_found() {
    let whole = trail();
    let count = whole.events.len();
    for keep in 0..count {
        let mut end = whole.clone();
        end.events.truncate(keep);
        assert_eq!(problems(&end), [Problem::WrongHead, Problem::WrongCount]);

        let mut start = whole.clone();
        start.events.drain(..count - keep);
        let expected: &[Problem] = match keep {
            0 => &[Problem::WrongHead, Problem::WrongCount],
            _ => &[Problem::WrongCount],
        };
        assert_eq!(problems(&start), expected);
    }
}

#[test]
fn another_head_or_count_is_found() {
    let whole = trail();
    let mut heads = vec![None, Some(String::new()), Some(GENESIS_HASH.to_owned())];
    heads.push(
        whole
            .chain_head_hash
            .as_ref()
            .map(|hash| hash.to_uppercase()),
    );
    heads.push(whole.events.first().map(|event| event.hash.clone()));
    for head in heads {
        let mut trail = whole.clone();
        trail.chain_head_hash = head;
        assert_eq!(problems(&trail), [Problem::WrongHead]);
    }
    for count in [0, 1, whole.event_count - 1, whole.event_count + 1, u64::MAX] {
        let mut trail = whole.clone();
        trail.event_count = count;
        assert_eq!(problems(&trail), [Problem::WrongCount]);
    }
    let mut empty = recounted(Vec::new());
    assert_eq!(empty.chain_head_hash.as_deref(), Some(GENESIS_HASH));
    empty.chain_head_hash = None;
    assert_eq!(problems(&empty), [Problem::WrongHead]);
}

#[test]
fn an_event_that_was_changed_is_named() {
    let whole = trail();
    for at in 0..whole.events.len() {
        let (sequence, id) = (at as u64 + 1, &whole.events[at].envelope.id);

        let mut trail = whole.clone();
        trail.events[at].payload = excused(&trail.events[at]);
        let report = trail.verify();
        assert_eq!(about(&report.findings, sequence), [Problem::HashMismatch]);
        assert_eq!(report.tampered_event_ids, std::slice::from_ref(id));

        let mut trail = whole.clone();
        trail.events[at].hash = "0".repeat(64);
        let findings = trail.verify().findings;
        assert!(about(&findings, sequence).contains(&Problem::HashMismatch));
        let next = about(&findings, sequence + 1);
        let is_last = at + 1 == whole.events.len();
        assert_eq!(next.contains(&Problem::NotAdjacent), !is_last);
    }
}

#[test]
fn an_envelope_that_was_changed_is_found() {
    type Change = fn(&mut Envelope, Option<String>);
    let optional: [Change; 4] = [
        |envelope, text| envelope.decision = text,
        |envelope, text| envelope.actor_id = text,
        |envelope, text| envelope.resource_type = text,
        |envelope, text| envelope.resource_id = text,
    ];
    let required: [Change; 5] = [
        |envelope, text| envelope.id = text.unwrap_or_default(),
        |envelope, text| envelope.org_id = text.unwrap_or_default(),
        |envelope, text| envelope.kind = text.unwrap_or_default(),
        |envelope, text| envelope.occurred_at = text.unwrap_or_default(),
        |envelope, text| envelope.created_at = text.unwrap_or_default(),
    ];
    let whole = trail();
    for at in 0..whole.events.len() {
        for change in optional.into_iter().chain(required) {
            // A changed member, a removed one, and one added where the original has none.
            for text in [Some("something-else".to_owned()), Some(String::new()), None] {
                let mut trail = whole.clone();
                change(&mut trail.events[at].envelope, text);
                if trail == whole {
                    continue;
                }
                let found = about(&trail.verify().findings, at as u64 + 1);
                let expected = Problem::EnvelopeContradictsPayload;
                assert!(found.contains(&expected), "{:?}", trail.events[at]);
            }
        }
    }
}

#[test]
fn an_event_sealed_anew_does_not_fit_its_neighbours() {
    let whole = trail();
    for at in 0..whole.events.len() {
        let mut trail = whole.clone();
        let mut event = trail.events[at].clone();
        event.payload = excused(&event);
        trail.events[at] = sealed(event);
        let expected = match at + 1 == trail.events.len() {
            true => vec![Problem::WrongHead],
            false => vec![Problem::NotAdjacent, Problem::HashMismatch],
        };
        assert_eq!(problems(&trail), expected, "event {}", at + 1);
    }
}

#[test]
fn a_trail_sealed_anew_still_has_to_make_sense() {
    let later = |event: &mut Event| event.envelope.occurred_at = "2030-01-01T00:00:00Z".into();
    assert_eq!(
        problems(&resealed(trail(), 5, later)),
        [Problem::TimeRunsBackwards]
    );
    let never = |event: &mut Event| event.envelope.occurred_at = "yesterday".into();
    assert_eq!(
        problems(&resealed(trail(), 5, never)),
        [Problem::UnreadableTime]
    );
    let gap = |event: &mut Event| event.envelope.sequence = 7;
    assert_eq!(
        problems(&resealed(trail(), 5, gap)),
        [Problem::SequenceGap, Problem::SequenceGap]
    );
    let wrapped = |event: &mut Event| event.envelope.sequence = u64::MAX;
    assert_eq!(
        problems(&resealed(trail(), 5, wrapped)),
        [Problem::SequenceGap, Problem::SequenceGap]
    );
    // A verifier with the old head notices each of these.
    let mut changed = resealed(trail(), 5, |event| {
        event.payload = excused(event);
    });
    assert!(changed.verify().is_intact());
    changed.chain_head_hash = trail().chain_head_hash;
    assert_eq!(problems(&changed), [Problem::WrongHead]);
}

#[test]
fn two_trails_do_not_splice() {
    let (one, other) = (trail(), trail());
    for at in 1..one.events.len() {
        let events = [&one.events[..at], &other.events[at..]].concat();
        let found = problems(&recounted(events));
        assert!(found.contains(&Problem::NotAdjacent), "{found:?}");
        assert!(found.contains(&Problem::HashMismatch), "{found:?}");
    }
}
