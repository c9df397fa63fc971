//! Checks a chain event by event, in memory that does not grow with it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::event::{Event, GENESIS_HASH};
use super::hash::{has_hash, is_same};
use super::report::{ChainLink, ChainReport, Continuation, Finding, Problem, truncated};
use crate::canonical::{Kind, Tape, python_spelling};

/// Checks the events of a chain, pushed one by one in the order of the chain.
///
/// ```
/// use atlasent::audit::{ChainVerifier, GENESIS_HASH};
///
/// let report = ChainVerifier::new().finish(Some(GENESIS_HASH), Some(0));
/// assert!(report.is_intact());
/// ```
#[derive(Debug)]
pub struct ChainVerifier {
    /// The previous hash that the next event must name. `None` before the first event.
    running: Option<String>,
    /// The hash of the last event. `None` if that event has no hash.
    last_hash: Option<String>,
    /// The sequence number of the last event.
    sequence: Option<u64>,
    expected: Option<ExpectedHead>,
    report: ChainReport,
}

/// A head that the chain is expected to contain or to follow.
#[derive(Debug)]
struct ExpectedHead {
    sequence: u64,
    hash: String,
    /// Whether the event with the head's sequence number has the head's hash. `None` until an event
    /// with that number was checked.
    matches: Option<bool>,
}

impl Default for ChainVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl ChainVerifier {
    /// Creates a verifier that has checked no event yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            running: None,
            last_hash: None,
            sequence: None,
            expected: None,
            report: ChainReport {
                adjacent: true,
                ..ChainReport::default()
            },
        }
    }

    /// Compares the trail with an earlier head of its chain: the sequence number and the hash of an
    /// event. [`ChainReport::continuation`] holds the result. A second call replaces the first;
    /// call it before the first event.
    ///
    /// ```
    /// use atlasent::audit::{ChainVerifier, Continuation, GENESIS_HASH};
    ///
    /// let verifier = ChainVerifier::new().expect_head(7, "9f86d081884c7d65");
    /// let report = verifier.finish(Some(GENESIS_HASH), Some(0));
    /// assert_eq!(report.continuation, Some(Continuation::EndsBefore { last: 0 }));
    /// ```
    #[must_use]
    pub fn expect_head(mut self, sequence: u64, hash: impl Into<String>) -> Self {
        self.expected = Some(ExpectedHead {
            sequence,
            hash: hash.into(),
            matches: None,
        });
        self
    }

    /// Checks the next event.
    ///
    /// The first event may name any previous hash, so a trail from the middle of a chain verifies
    /// too.
    pub fn push(&mut self, event: &Event) {
        // Serializing strings, integers and JSON text into memory cannot fail. If it did, `{}`
        // would be reported as an event without a hash.
        let text = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
        self.check(&Tape::parse(&text));
    }

    /// Checks the next event: a JSON object.
    pub(super) fn check(&mut self, event: &Tape<'_>) {
        let fields = EventFields::read(event, Tape::ROOT);
        let event_ref = EventRef {
            index: self.report.events,
            id: fields.id.map(|id| python_str(event, id)),
            sequence: (fields.envelope[SEQUENCE]).and_then(|value| event.text(value).parse().ok()),
        };
        self.report.events += 1;
        self.check_hash(event, &fields, &event_ref);
        if event.has_repeated_keys() {
            self.add_finding(&event_ref, Problem::RepeatedKey);
        }
        if !follows(self.sequence, event_ref.sequence) {
            self.add_finding(&event_ref, Problem::SequenceGap);
        }
        self.sequence = event_ref.sequence;
        self.check_envelope(event, &fields, &event_ref);
        self.check_time(event, &fields, &event_ref);
    }

    fn check_hash(&mut self, event: &Tape<'_>, fields: &EventFields, event_ref: &EventRef<'_>) {
        let string = |node: Option<usize>| {
            node.filter(|node| event.kind(*node) == Some(Kind::String))
                .map(|node| event.string(node))
        };
        let (hash, previous) = (string(fields.hash), string(fields.previous_hash));
        self.last_hash = hash.as_deref().map(str::to_owned);
        let link = ChainLink {
            sequence: event_ref.sequence,
            hash: hash.as_deref().map(truncated),
            previous_hash: previous.as_deref().map(truncated),
        };
        if let Some(expected) = &mut self.expected
            && event_ref.sequence == Some(expected.sequence)
        {
            // A repeated sequence number is a finding; every event with that number must have the
            // expected hash.
            let same = hash.as_deref() == Some(&*expected.hash);
            expected.matches = Some(same && expected.matches != Some(false));
        }
        if self.report.first.is_none() {
            self.report.first = Some(link.clone());
        }
        self.report.last = Some(link);
        let running = self
            .running
            .take()
            .unwrap_or_else(|| previous.as_deref().unwrap_or(GENESIS_HASH).to_owned());
        let (Some(hash), Some(previous)) = (hash, previous) else {
            self.report.adjacent = false;
            let id = event_ref.id.clone();
            let id = id.unwrap_or_else(|| format!("index_{}", event_ref.index).into());
            self.report.add_tampered(&id);
            self.add_finding(event_ref, Problem::NoHash);
            self.running = Some(running);
            return;
        };
        if previous != running {
            self.report.adjacent = false;
            self.add_finding(event_ref, Problem::NotAdjacent);
        }
        if !has_hash(event, fields.payload, &running, &hash) {
            self.report
                .add_tampered(event_ref.id.as_deref().unwrap_or("None"));
            self.add_finding(event_ref, Problem::HashMismatch);
        }
        self.running = Some(hash.into_owned());
    }

    /// Compares the envelope, which is outside the hash, with the fields that the payload repeats.
    ///
    /// A payload that repeats the fields of [`MARKERS`], as those of the embedded authority do,
    /// must repeat every field of the envelope.
    ///
    /// ```text
    /// envelope            payload                     finding
    /// actor_id: "a"       {"actor_id":"b"}            contradicts: the values differ
    /// decision: "allow"   {"reason":"x"}              fine: does not repeat the envelope
    /// decision: "allow"   {id, sequence, type}        contradicts: repeats the envelope without `decision`
    /// (no decision)       {"decision":"allow"}        contradicts: an optional field was removed
    /// ```
    fn check_envelope(&mut self, event: &Tape<'_>, fields: &EventFields, event_ref: &EventRef<'_>) {
        let Some(payload) = fields.payload else {
            return;
        };
        match event.kind(payload) {
            Some(Kind::Object) => {}
            Some(Kind::Null) => return,
            _ => return self.add_finding(event_ref, Problem::PayloadIsNoObject),
        }
        let hashed = EventFields::read(event, payload).envelope;
        let repeats_envelope = MARKERS
            .iter()
            .all(|field| matches!(hashed.get(*field), Some(Some(_))));
        let contradicts =
            (0..)
                .zip(fields.envelope.into_iter().zip(hashed))
                .any(|(field, pair)| match pair {
                    (Some(unhashed), Some(hashed)) => !is_same(event, unhashed, hashed),
                    (Some(_), None) => repeats_envelope,
                    (None, Some(_)) => OPTIONAL.contains(&field),
                    (None, None) => false,
                });
        if contradicts {
            self.add_finding(event_ref, Problem::EnvelopeContradictsPayload);
        }
    }

    fn check_time(&mut self, event: &Tape<'_>, fields: &EventFields, event_ref: &EventRef<'_>) {
        let time = fields.envelope[OCCURRED_AT].map(|time| event.string(time));
        let Some(now) = time.and_then(|time| time.parse::<Timestamp>().ok()) else {
            return self.add_finding(event_ref, Problem::UnreadableTime);
        };
        self.report.first_at.get_or_insert(now);
        if self
            .report
            .last_at
            .replace(now)
            .is_some_and(|before| now < before)
        {
            self.add_finding(event_ref, Problem::TimeRunsBackwards);
        }
    }

    fn add_finding(&mut self, event_ref: &EventRef<'_>, problem: Problem) {
        self.report.add_finding(Finding {
            index: Some(event_ref.index),
            event_id: event_ref.id.as_deref().map(truncated),
            sequence: event_ref.sequence,
            problem,
        });
    }

    /// Adds a finding about the trail as a whole.
    pub(super) fn add_trail_finding(&mut self, problem: Problem) {
        self.report.add_finding(Finding::in_trail(problem));
    }

    /// Ends the check: compares the last hash with the head that the trail names, and the number of
    /// events with the number that it names. A missing head is reported as wrong; a missing number
    /// is not checked.
    #[must_use]
    pub fn finish(mut self, head: Option<&str>, count: Option<u64>) -> ChainReport {
        let last = self.last_hash.as_deref().unwrap_or(GENESIS_HASH);
        self.report.head_hash_matches = head == Some(last);
        if !self.report.head_hash_matches {
            self.add_trail_finding(Problem::WrongHead);
        }
        if count.is_some_and(|count| count != self.report.events) {
            self.add_trail_finding(Problem::WrongCount);
        }
        let mut report = self.report;
        report.continuation = (self.expected).map(|expected| expected.compare(&report));
        report.integrity_ok = report.adjacent && report.tampered == 0 && report.head_hash_matches;
        report
    }
}

impl ExpectedHead {
    /// Returns how the trail of a report relates to the head.
    fn compare(&self, report: &ChainReport) -> Continuation {
        let sequence = |link: &Option<ChainLink>| link.as_ref().and_then(|link| link.sequence);
        let ends = sequence(&report.last).unwrap_or(0);
        let Some(first) = sequence(&report.first) else {
            return match self.sequence {
                // The head of an empty chain: an empty trail contains all of its events.
                0 if report.events == 0 && self.hash == GENESIS_HASH => Continuation::Contains,
                _ => Continuation::EndsBefore { last: ends },
            };
        };
        match self.matches {
            Some(true) => return Continuation::Contains,
            Some(false) => return Continuation::Differs,
            None => {}
        }
        let next = self.sequence.saturating_add(1);
        if first == next {
            let previous = report
                .first
                .as_ref()
                .and_then(|first| first.previous_hash.as_deref());
            return match previous == Some(&*self.hash) {
                true => Continuation::Follows,
                false => Continuation::Differs,
            };
        }
        match first > next {
            true => Continuation::Gap {
                first: next,
                last: first - 1,
            },
            false if self.sequence > ends => Continuation::EndsBefore { last: ends },
            // The trail skips the head's sequence number.
            false => Continuation::Differs,
        }
    }
}

/// Identifies an event in a finding.
struct EventRef<'a> {
    index: u64,
    id: Option<Cow<'a, str>>,
    sequence: Option<u64>,
}

const ENVELOPE: [&str; 10] = [
    "id",
    "org_id",
    "sequence",
    "type",
    "decision",
    "actor_id",
    "resource_type",
    "resource_id",
    "occurred_at",
    "created_at",
];
const SEQUENCE: usize = 2;
const OCCURRED_AT: usize = 8;
/// The fields that mark a payload as one that repeats the envelope: id, sequence number and type.
const MARKERS: [usize; 3] = [0, SEQUENCE, 3];
/// The fields that an envelope may omit. If the payload has one, the envelope must have it too.
const OPTIONAL: std::ops::Range<usize> = 4..8;

/// The nodes of the fields of an event or of a payload. If a key is repeated, its last value
/// counts.
#[derive(Default)]
struct EventFields {
    /// The values in the order of [`ENVELOPE`]. `None` for a field that is absent or `null`.
    envelope: [Option<usize>; ENVELOPE.len()],
    /// The id, even if it is `null`.
    id: Option<usize>,
    payload: Option<usize>,
    hash: Option<usize>,
    previous_hash: Option<usize>,
}

impl EventFields {
    fn read(tape: &Tape<'_>, object: usize) -> Self {
        let mut fields = Self::default();
        for (key, value) in tape.members(object) {
            let key = tape.string(key);
            match &*key {
                "payload" => fields.payload = Some(value),
                "hash" => fields.hash = Some(value),
                "previous_hash" => fields.previous_hash = Some(value),
                key => {
                    let field = ENVELOPE.iter().position(|name| *name == key);
                    if let Some(field) = field.and_then(|at| fields.envelope.get_mut(at)) {
                        *field = Some(value).filter(|_| tape.kind(value) != Some(Kind::Null));
                    }
                    if key == "id" {
                        fields.id = Some(value);
                    }
                }
            }
        }
        fields
    }
}

/// Whether the sequence number `now` is the successor of `before`. Any number may be the first.
fn follows(before: Option<u64>, now: Option<u64>) -> bool {
    match (before, now) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(now)) => before.checked_add(1) == Some(now),
    }
}

/// Returns what Python's `str` makes of an id: `None` for `null`, `True` for `true`. Arrays and
/// objects are returned as JSON.
fn python_str<'a>(tape: &Tape<'a>, value: usize) -> Cow<'a, str> {
    match tape.kind(value) {
        None | Some(Kind::Null) => "None".into(),
        Some(Kind::True) => "True".into(),
        Some(Kind::False) => "False".into(),
        Some(Kind::String) => tape.string(value),
        Some(Kind::Number) => {
            let text = tape.text(value);
            python_spelling(text).map_or(text.into(), Cow::Owned)
        }
        Some(Kind::Array | Kind::Object) => tape.text(value).into(),
    }
}
