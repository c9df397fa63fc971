//! The result of the check of a chain.

use std::fmt;

use jiff::Timestamp;

use super::event::GENESIS_HASH;

/// The maximum number of findings, and of ids, in a report. A hostile chain may cause any number of
/// them; further ones are only counted.
pub(super) const MAX_FINDINGS: usize = 1_000;

/// The maximum length of an event's id in a report, in characters.
const MAX_ID_CHARS: usize = 256;

/// The result of the check of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainReport {
    /// The number of events that were checked.
    pub events: u64,
    /// The time of the first event whose time can be read.
    pub first_at: Option<Timestamp>,
    /// The time of the last event whose time can be read.
    pub last_at: Option<Timestamp>,
    /// The first event of the trail. `None` if the trail has no events.
    pub first: Option<ChainLink>,
    /// The last event of the trail. `None` if the trail has no events.
    pub last: Option<ChainLink>,
    /// How the trail relates to the head given to
    /// [`ChainVerifier::expect_head`](super::ChainVerifier::expect_head). `None` if no head was
    /// given.
    pub continuation: Option<Continuation>,
    /// Whether every event names the hash of the previous event, every hash fits its payload, and
    /// the head is the hash of the last event (contract, part C).
    pub integrity_ok: bool,
    /// Whether every event names the hash of the previous event.
    pub adjacent: bool,
    /// Whether the head is the hash of the last event; in a trail without events, 64 zeros.
    pub head_hash_matches: bool,
    /// The ids of the events whose hash does not fit their payload: the first 1,000, each cut to
    /// 256 characters. An event without an id appears as in the SDKs: `None`, or `index_` and its
    /// index.
    pub tampered_event_ids: Vec<String>,
    /// The number of events whose hash does not fit their payload.
    pub tampered: u64,
    /// The problems of the chain, in its order: the first 1,000.
    pub findings: Vec<Finding>,
    /// The number of findings, including those beyond the first 1,000.
    pub found: u64,
}

impl ChainReport {
    /// Whether the chain has [integrity](Self::integrity_ok) and no findings.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.integrity_ok && self.found == 0
    }

    /// Whether the trail begins with the first event of its chain. If an intact trail does not, its
    /// oldest events were archived, left out or removed.
    #[must_use]
    pub fn begins_at_genesis(&self) -> bool {
        (self.first.as_ref()).is_some_and(|first| {
            first.sequence == Some(1) && first.previous_hash.as_deref() == Some(GENESIS_HASH)
        })
    }

    pub(super) fn add_finding(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    pub(super) fn add_tampered(&mut self, id: &str) {
        self.tampered += 1;
        if self.tampered_event_ids.len() < MAX_FINDINGS {
            self.tampered_event_ids.push(truncated(id));
        }
    }
}

/// The fields that link an event to its neighbors in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainLink {
    /// The event's sequence number. `None` if it cannot be read.
    pub sequence: Option<u64>,
    /// The event's hash, cut to 256 characters. `None` if it is missing.
    pub hash: Option<String>,
    /// The hash of the previous event as this event names it, cut to 256 characters. `None` if it
    /// is missing.
    pub previous_hash: Option<String>,
}

/// How a trail relates to an earlier head of its chain.
///
/// Each hash covers the previous one, so an intact trail that contains the head's event, with the
/// same hash, has the same payloads before it as the chain had then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Continuation {
    /// The trail contains the event of the head.
    Contains,
    /// The first event of the trail is the successor of the head's event.
    Follows,
    /// The trail does not contain the head's event, but another event or a gap in its position. The
    /// trail belongs to another chain, or its history was rewritten.
    Differs,
    /// Events between the head and the first event of the trail are missing.
    Gap {
        /// The sequence number of the first missing event.
        first: u64,
        /// The sequence number of the last missing event.
        last: u64,
    },
    /// The trail ends before the head: its newest events are missing, or the trail is older than
    /// the head.
    EndsBefore {
        /// The sequence number of the trail's last event; 0 without events.
        last: u64,
    },
}

impl Continuation {
    /// Whether the trail contains the head's event, or its first event is the successor of the
    /// head's event.
    #[must_use]
    pub fn is_proven(self) -> bool {
        matches!(self, Self::Contains | Self::Follows)
    }
}

impl fmt::Display for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains => f.write_str("the trail contains the event of the head"),
            Self::Follows => f.write_str("the trail begins right after the head"),
            Self::Differs => f.write_str(
                "the trail has a different event, or a gap, at the position of the head: it belongs to another chain, or its history was rewritten",
            ),
            Self::Gap { first, last } if first == last => {
                write!(f, "event {first}, between the head and the trail, is missing")
            }
            Self::Gap { first, last } => {
                write!(f, "events {first} to {last}, between the head and the trail, are missing")
            }
            Self::EndsBefore { last: 0 } => {
                f.write_str("the trail has no events, so it does not contain the event of the head")
            }
            Self::EndsBefore { last } => {
                write!(f, "the trail ends at event {last}, before the head: its newest events are missing")
            }
        }
    }
}

/// Cuts an id or a hash to [`MAX_ID_CHARS`].
pub(super) fn truncated(id: &str) -> String {
    // No text has more characters than bytes.
    if id.len() <= MAX_ID_CHARS {
        return id.to_owned();
    }
    id.chars().take(MAX_ID_CHARS).collect()
}

/// A problem of a chain, and the event in which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The event's index in the trail, from 0. `None` if the problem concerns the trail as a whole.
    pub index: Option<u64>,
    /// The event's id, cut to 256 characters. `None` if it has no id.
    pub event_id: Option<String>,
    /// The event's sequence number. `None` if it cannot be read.
    pub sequence: Option<u64>,
    /// The problem.
    pub problem: Problem,
}

impl Finding {
    pub(super) fn in_trail(problem: Problem) -> Self {
        Self {
            index: None,
            event_id: None,
            sequence: None,
            problem,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.sequence) {
            (None, _) => f.write_str("the trail")?,
            (_, Some(sequence)) => write!(f, "event {sequence}")?,
            (Some(index), None) => write!(f, "the event at index {index}")?,
        }
        if let Some(id) = &self.event_id {
            write!(f, " (`{}`)", crate::text::redact::excerpt(id))?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// The kinds of problems of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The hash does not fit the payload: one of them was changed.
    #[error("the hash does not fit the payload")]
    HashMismatch,
    /// The event's `previous_hash` is not the hash of the previous event.
    #[error("the previous hash is not the hash of the previous event")]
    NotAdjacent,
    /// The hash or the previous hash is missing, or is not a string.
    #[error("the hash or the previous hash is missing")]
    NoHash,
    /// The event's sequence number is not the successor of the previous event's number.
    #[error("the sequence has a gap, runs backwards or cannot be read")]
    SequenceGap,
    /// A field of the envelope, which is outside the hash, has another value than in the payload.
    #[error("a field of the envelope contradicts the payload")]
    EnvelopeContradictsPayload,
    /// The payload is not an object. Its hash may not prove its value: `false`, `0` and other empty
    /// values are hashed as `{}`.
    #[error("the payload is not an object")]
    PayloadIsNoObject,
    /// An object has the same key twice. Programs differ in which of the two values they use.
    #[error("an object repeats a key")]
    RepeatedKey,
    /// The time is missing, or cannot be read.
    #[error("the time is not ISO 8601")]
    UnreadableTime,
    /// The event's time is before the time of the previous event.
    #[error("the time runs backwards")]
    TimeRunsBackwards,
    /// The head that the trail names is not the hash of its last event.
    #[error("the head is not the hash of the last event")]
    WrongHead,
    /// The trail has more or fewer events than it names.
    #[error("the number of events differs from the number that the trail names")]
    WrongCount,
    /// The server that exported the trail reports it as broken.
    #[error("the server that exported the trail reports it as broken")]
    ExporterDisagrees,
}
