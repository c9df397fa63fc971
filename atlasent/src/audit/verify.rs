//! Checks a chain event by event, in memory that does not grow with it.

use std::fmt;

use jiff::Timestamp;

use super::event::{Event, chain_hash};

/// Checks events in the order in which they come.
///
/// ```
/// use atlasent::audit::ChainVerifier;
///
/// let report = ChainVerifier::new().finish(None, Some(0));
/// assert!(report.is_intact());
/// ```
#[derive(Debug, Default)]
pub struct ChainVerifier {
    previous: Option<Previous>,
    events: u64,
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Previous {
    hash: String,
    sequence: u64,
    occurred_at: Option<Timestamp>,
}

impl ChainVerifier {
    /// A verifier that has seen no event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the next event.
    ///
    /// The first one may follow any hash, so that a stretch from the middle of a chain verifies too.
    pub fn push(&mut self, event: &Event) {
        self.events += 1;
        let previous = self.previous.take();
        if let Some(previous) = &previous {
            if event.previous_hash != previous.hash {
                self.find(event, Problem::NotAdjacent);
            }
            if previous.sequence.checked_add(1) != Some(event.envelope.sequence) {
                self.find(event, Problem::SequenceGap);
            }
        }
        let follows = previous
            .as_ref()
            .map_or(&event.previous_hash, |previous| &previous.hash);
        if chain_hash(follows, &event.payload) != event.hash {
            self.find(event, Problem::HashMismatch);
        }
        self.compare_envelope(event);
        let before = previous.and_then(|previous| previous.occurred_at);
        let occurred_at = self.check_time(event, before);
        self.previous = Some(Previous {
            hash: event.hash.clone(),
            sequence: event.envelope.sequence,
            occurred_at,
        });
    }

    /// Ends the check: against the head that the trail names, and the number of events that it says it has.
    #[must_use]
    pub fn finish(mut self, head: Option<&str>, count: Option<u64>) -> ChainReport {
        let last = self
            .previous
            .as_ref()
            .map(|previous| previous.hash.as_str());
        if head != last {
            self.findings
                .push(Finding::of_the_trail(Problem::WrongHead));
        }
        if count.is_some_and(|count| count != self.events) {
            self.findings
                .push(Finding::of_the_trail(Problem::WrongCount));
        }
        ChainReport {
            events: self.events,
            findings: self.findings,
        }
    }

    /// The envelope is outside the hash, so it is held against what the payload repeats of it. A payload that
    /// repeats the envelope at all, as ours do, repeats every field of it that is there.
    fn compare_envelope(&mut self, event: &Event) {
        let envelope = event.envelope.to_fields();
        let hashed = |key: &str| event.payload.get(key);
        let repeats = ["id", "sequence", "type"]
            .iter()
            .all(|key| hashed(key).is_some());
        let contradicted = envelope
            .iter()
            .any(|(key, said)| hashed(key).map_or(repeats, |hashed| hashed != said));
        let removed = ["decision", "actor_id", "resource_type", "resource_id"]
            .iter()
            .any(|key| hashed(key).is_some() && !envelope.contains_key(*key));
        if contradicted || removed {
            self.find(event, Problem::EnvelopeContradictsPayload);
        }
    }

    /// The time to compare the next event's with.
    fn check_time(&mut self, event: &Event, before: Option<Timestamp>) -> Option<Timestamp> {
        let Ok(now) = event.envelope.occurred_at.parse::<Timestamp>() else {
            self.find(event, Problem::UnreadableTime);
            return before;
        };
        if before.is_some_and(|before| now < before) {
            self.find(event, Problem::TimeRunsBackwards);
        }
        Some(now)
    }

    fn find(&mut self, event: &Event, problem: Problem) {
        self.findings.push(Finding {
            event_id: Some(event.envelope.id.clone()),
            sequence: Some(event.envelope.sequence),
            problem,
        });
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainReport {
    /// How many events were checked.
    pub events: u64,
    /// Everything that is wrong, in the order of the chain.
    pub findings: Vec<Finding>,
}

impl ChainReport {
    /// Whether nothing at all is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    /// The ids of the events whose payload does not have their hash.
    pub fn tampered_event_ids(&self) -> impl Iterator<Item = &str> {
        self.findings
            .iter()
            .filter(|finding| finding.problem == Problem::HashMismatch)
            .filter_map(|finding| finding.event_id.as_deref())
    }
}

/// One thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The event, unless the trail as a whole is meant.
    pub event_id: Option<String>,
    /// The event's place in the chain.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

impl Finding {
    fn of_the_trail(problem: Problem) -> Self {
        Self {
            event_id: None,
            sequence: None,
            problem,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.event_id, self.sequence) {
            (Some(id), Some(sequence)) => write!(
                f,
                "event {sequence} (`{}`): {}",
                crate::redact::excerpt(id),
                self.problem
            ),
            _ => write!(f, "the trail: {}", self.problem),
        }
    }
}

/// What can be wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The payload was changed, or the hash was.
    #[error("the hash does not fit the payload")]
    HashMismatch,
    /// The event before is not the one that this event follows.
    #[error("the previous hash is not that of the event before")]
    NotAdjacent,
    /// The event before has another sequence number than this event's less one.
    #[error("the sequence has a gap or runs backwards")]
    SequenceGap,
    /// A field outside the hash says something else than the payload.
    #[error("a field of the envelope contradicts the payload")]
    EnvelopeContradictsPayload,
    /// The time cannot be read.
    #[error("the time is not ISO 8601")]
    UnreadableTime,
    /// The event happened before the event before.
    #[error("the time runs backwards")]
    TimeRunsBackwards,
    /// The head that the trail names is not the hash of its last event.
    #[error("the head is not the hash of the last event")]
    WrongHead,
    /// The trail has more or fewer events than it says.
    #[error("the number of events is not the one that is named")]
    WrongCount,
}
