//! A bundle whose events are checked on several threads has the report of events that are checked
//! one after the other.

use atlasent::audit::{BundleError, Problem, Trail};
use proptest::prelude::*;

use super::{chain, problems, signed, unsigned, verify};

/// A change to one event.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The hash is of another payload.
    Hash,
    /// The event names another previous hash.
    PreviousHash,
    /// The event is missing.
    Dropped,
    /// The event is followed by itself.
    Repeated,
    /// The event changes places with the next one.
    Swapped,
    /// The time is not a time.
    Time,
    /// The event's hash is missing.
    NoHash,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Hash),
        Just(Fault::PreviousHash),
        Just(Fault::Dropped),
        Just(Fault::Repeated),
        Just(Fault::Swapped),
        Just(Fault::Time),
        Just(Fault::NoHash),
    ]
}

impl Fault {
    fn apply(self, events: &mut Vec<String>, at: usize) {
        let at = at % events.len();
        let event = events[at].clone();
        match self {
            Self::Hash => events[at] = event.replace(r#""payload":{"#, r#""payload":{"new":1,"#),
            Self::PreviousHash => {
                let (before, named) = event.rsplit_once(r#""previous_hash":""#).unwrap();
                let other = format!(r#""previous_hash":"{}"#, "f".repeat(4));
                events[at] = format!("{before}{other}{}", named.get(4..).unwrap());
            }
            Self::Dropped => drop(events.remove(at)),
            Self::Repeated => events.insert(at, event),
            Self::Swapped => {
                let next = (at + 1) % events.len();
                events.swap(at, next);
            }
            Self::Time => events[at] = event.replace("2026-01-01T", "yesterday "),
            Self::NoHash => events[at] = event.replace(r#""hash":""#, r#""nohash":""#),
        }
    }
}

/// Returns events of which about 150 fill a batch, with one that is longer than a batch.
fn events(count: usize, long: usize) -> (Vec<String>, String) {
    let payloads = (0..count).map(|index| {
        let length = if index == long { 100_000 } else { index % 200 };
        format!(r#"{{"note":"{}"}}"#, "x".repeat(length))
    });
    chain(&payloads.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn faults_are_found_as_by_one_thread(
        faults in prop::collection::vec((fault(), 0_usize..1_500), 0..6),
        long in 0_usize..3_000,
    ) {
        let (mut events, head) = events(1_500, long);
        for (fault, at) in faults {
            fault.apply(&mut events, at);
        }
        let bundle = signed(&unsigned(&events, &head));
        let report = verify(&bundle).unwrap();
        let expected: Result<Trail, _> = serde_json::from_str(&bundle);
        prop_assert!(report.signature_valid);
        // A trail has no events without a hash: the bundle reports each of them.
        match expected {
            Ok(trail) => prop_assert_eq!(report.chain, trail.verify()),
            Err(_) => prop_assert!(!report.is_intact()),
        }
    }
}

#[test]
fn the_first_invalid_event_is_reported_wherever_it_stands() {
    for at in [0, 1, 400, 1_499] {
        let (mut events, head) = events(1_500, 700);
        events[at] = "7".to_owned();
        events[1_499] = "8".to_owned();
        let error = verify(signed(&unsigned(&events, &head))).unwrap_err();
        assert!(
            matches!(error, BundleError::Malformed { event: Some(event), .. } if event == at as u64),
            "{at}: {error}"
        );
    }
}

#[test]
fn a_long_event_among_others_keeps_its_place() {
    for long in [0, 1, 400, 1_499] {
        let (events, head) = events(1_500, long);
        let report = verify(signed(&unsigned(&events, &head))).unwrap();
        assert!(report.verified(), "{long}: {report:?}");
        // The times of the events repeat every ten events.
        let only = Problem::TimeRunsBackwards;
        assert!(problems(&report).iter().all(|problem| *problem == only));
        assert_eq!(report.chain.events, 1_500);
    }
}
