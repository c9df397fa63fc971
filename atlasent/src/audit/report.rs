//! What a check found.

use std::fmt;

use jiff::Timestamp;

use super::event::GENESIS_HASH;

/// How many findings, and how many ids, a report keeps. The chain may be hostile, so what it causes
/// is bounded; beyond this they are only counted.
pub(super) const KEPT: usize = 1_000;

/// How many characters of an event's id are kept.
const ID_LENGTH: usize = 256;

/// What the check of a chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainReport {
    /// How many events were checked.
    pub events: u64,
    /// When the first event happened whose time can be read.
    pub first_at: Option<Timestamp>,
    /// When the last such event happened.
    pub last_at: Option<Timestamp>,
    /// Where the trail begins: its first event. None without events.
    pub first: Option<ChainLink>,
    /// Where the trail ends: its last event. None without events.
    pub last: Option<ChainLink>,
    /// How the trail relates to the head that
    /// [`ChainVerifier::expect_head`](super::ChainVerifier::expect_head) names. None without one.
    pub continuation: Option<Continuation>,
    /// Whether every event names the hash of the one before, has the hash of its payload, and the
    /// head is the hash of the last one (contract, part C).
    pub integrity_ok: bool,
    /// Whether every event names the hash of the one before.
    pub adjacent: bool,
    /// Whether the head is the hash of the last event, or 64 zeros when there is none.
    pub head_hash_matches: bool,
    /// The ids of the events that do not have the hash of their payload: the first 1,000, and of
    /// each the first 256 characters. An event without an id is named as the SDKs name it, `None`
    /// or `index_<its place>`.
    pub tampered_event_ids: Vec<String>,
    /// How many such events there are.
    pub tampered: u64,
    /// Everything that is wrong, in the order of the chain: the first 1,000.
    pub findings: Vec<Finding>,
    /// How many findings there are.
    pub found: u64,
}

impl ChainReport {
    /// Whether nothing at all is wrong: the chain holds, and so does all that it says.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.integrity_ok && self.found == 0
    }

    /// Whether the trail begins where its chain begins, so that no event is missing before its
    /// first one. An intact trail that does not is a stretch: its oldest events were archived, left
    /// out or removed.
    #[must_use]
    pub fn begins_at_genesis(&self) -> bool {
        (self.first.as_ref()).is_some_and(|first| {
            first.sequence == Some(1) && first.previous_hash.as_deref() == Some(GENESIS_HASH)
        })
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }

    pub(super) fn tampered(&mut self, id: &str) {
        self.tampered += 1;
        if self.tampered_event_ids.len() < KEPT {
            self.tampered_event_ids.push(bounded(id));
        }
    }
}

/// An event's place in its chain: what ties it to its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainLink {
    /// The sequence number that the event gives itself, where it can be read.
    pub sequence: Option<u64>,
    /// The event's hash, or its first 256 characters. None when it is missing.
    pub hash: Option<String>,
    /// The hash of the event before, or its first 256 characters. None when it is missing.
    pub previous_hash: Option<String>,
}

/// How a trail relates to a head of its chain that was seen before.
///
/// Hashes chain, so an intact trail with the event of the head, under the same hash, has the same
/// hashed payloads before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Continuation {
    /// The trail contains the event of the head.
    Contains,
    /// The first event of the trail comes right after the head.
    Follows,
    /// The trail has another event, or none, in the place of the head: it belongs to another chain,
    /// or its history was rewritten.
    Differs,
    /// The trail begins so late that events between the head and the trail's first one are unknown.
    Gap {
        /// The first unknown event.
        first: u64,
        /// The last unknown event.
        last: u64,
    },
    /// The trail ends before the head: its newest events are missing, or it is older than the head.
    EndsBefore {
        /// The trail's last event; 0 without events.
        last: u64,
    },
}

impl Continuation {
    /// Whether the trail contains the head or comes right after it.
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
                "the trail has another event, or none, in the place of the head: it is another chain, or its history was rewritten",
            ),
            Self::Gap { first, last } if first == last => {
                write!(f, "event {first}, between the head and the trail, is in neither")
            }
            Self::Gap { first, last } => {
                write!(f, "events {first} to {last}, between the head and the trail, are in neither")
            }
            Self::EndsBefore { last: 0 } => {
                f.write_str("the trail has no event, so the event of the head is not in it")
            }
            Self::EndsBefore { last } => {
                write!(f, "the trail ends at event {last}, before the head: its newest events are missing")
            }
        }
    }
}

/// The beginning of an id.
pub(super) fn bounded(id: &str) -> String {
    id.chars().take(ID_LENGTH).collect()
}

/// One thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The event's place in what was checked, from 0. None when the whole is meant.
    pub index: Option<u64>,
    /// The event's id, or its first 256 characters.
    pub event_id: Option<String>,
    /// The sequence number that the event gives itself.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

impl Finding {
    pub(super) fn of_the_trail(problem: Problem) -> Self {
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
    /// The hash or the previous hash is missing, or is no string.
    #[error("the hash or the previous hash is missing")]
    NoHash,
    /// The event before has another sequence number than this event's less one.
    #[error("the sequence has a gap, runs backwards or cannot be read")]
    SequenceGap,
    /// A field outside the hash says something else than the payload.
    #[error("a field of the envelope contradicts the payload")]
    EnvelopeContradictsPayload,
    /// The payload is there, and is no object. It may have been another one: some are hashed as if
    /// they were `{}`.
    #[error("the payload is not an object")]
    PayloadIsNoObject,
    /// Programs differ in which of two values they take.
    #[error("a key stands twice in one object")]
    RepeatedKey,
    /// The time is missing, or cannot be read.
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
    /// The server that exported the trail already found it broken.
    #[error("the server that exported it says that it is broken")]
    ExporterDisagrees,
}
