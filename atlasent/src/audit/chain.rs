//! Checks a chain event by event, in memory that does not grow with it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::event::{Event, GENESIS_HASH};
use super::report::{ChainLink, ChainReport, Continuation, Finding, Problem, bounded};
use crate::canonical::{Form, Kind, Order, Spelling, Tape, python_spelling, sha256_hex};

/// The form that is hashed.
pub(super) const CANONICAL: Form = Form {
    order: Order::Sorted,
    spelling: Spelling::AsWritten,
};

/// Checks events in the order in which they come.
///
/// ```
/// use atlasent::audit::{ChainVerifier, GENESIS_HASH};
///
/// let report = ChainVerifier::new().finish(Some(GENESIS_HASH), Some(0));
/// assert!(report.is_intact());
/// ```
#[derive(Debug)]
pub struct ChainVerifier {
    /// The hash that the next event has to follow. None before the first one.
    running: Option<String>,
    /// The hash of the last event, where it has one.
    last_hash: Option<String>,
    sequence: Option<u64>,
    expected: Option<Expected>,
    report: ChainReport,
}

/// A head that the chain is expected to contain or to follow, and the hash of the event in its
/// place.
#[derive(Debug)]
struct Expected {
    sequence: u64,
    hash: String,
    /// Whether the event in the head's place, if one came by, has the head's hash.
    found: Option<bool>,
}

impl Default for ChainVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl ChainVerifier {
    /// A verifier that has seen no event.
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

    /// Compares the trail with a head of its chain that was seen before: the sequence number and
    /// the hash of an event. [`ChainReport::continuation`] says how they relate. A second call
    /// replaces the first; call it before the first event.
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
        self.expected = Some(Expected {
            sequence,
            hash: hash.into(),
            found: None,
        });
        self
    }

    /// Checks the next event.
    ///
    /// The first one may follow any hash, so that a stretch from the middle of a chain verifies
    /// too.
    pub fn push(&mut self, event: &Event) {
        // Strings, integers and JSON text, into memory: it cannot fail. If it did, an event without
        // a hash is none.
        let text = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
        self.check(&Tape::of(&text));
    }

    /// Checks the next event: a JSON object.
    pub(super) fn check(&mut self, event: &Tape<'_>) {
        let fields = Fields::of(event, Tape::ROOT);
        let place = Place {
            index: self.report.events,
            id: fields.id.map(|id| python_text(event, id)),
            sequence: (fields.envelope[SEQUENCE]).and_then(|value| event.text(value).parse().ok()),
        };
        self.report.events += 1;
        self.check_hash(event, &fields, &place);
        if event.has_repeated_keys() {
            self.find(&place, Problem::RepeatedKey);
        }
        if !follows(self.sequence, place.sequence) {
            self.find(&place, Problem::SequenceGap);
        }
        self.sequence = place.sequence;
        self.check_envelope(event, &fields, &place);
        self.check_time(event, &fields, &place);
    }

    fn check_hash(&mut self, event: &Tape<'_>, fields: &Fields, place: &Place<'_>) {
        let string = |node: Option<usize>| {
            node.filter(|node| event.kind(*node) == Some(Kind::String))
                .map(|node| event.string(node))
        };
        let (hash, previous) = (string(fields.hash), string(fields.previous_hash));
        self.last_hash = hash.as_deref().map(str::to_owned);
        let link = ChainLink {
            sequence: place.sequence,
            hash: hash.as_deref().map(bounded),
            previous_hash: previous.as_deref().map(bounded),
        };
        if let Some(expected) = &mut self.expected
            && place.sequence == Some(expected.sequence)
        {
            // A number that stands twice is a finding; each of its events has to be the expected
            // one.
            let same = hash.as_deref() == Some(&*expected.hash);
            expected.found = Some(same && expected.found != Some(false));
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
            let named = place.id.clone();
            let named = named.unwrap_or_else(|| format!("index_{}", place.index).into());
            self.report.tampered(&named);
            self.find(place, Problem::NoHash);
            self.running = Some(running);
            return;
        };
        if previous != running {
            self.report.adjacent = false;
            self.find(place, Problem::NotAdjacent);
        }
        if !has_hash(event, fields.payload, &running, &hash) {
            self.report.tampered(place.id.as_deref().unwrap_or("None"));
            self.find(place, Problem::HashMismatch);
        }
        self.running = Some(hash.into_owned());
    }

    /// The envelope is outside the hash, so it is held against what the payload repeats of it. A
    /// payload that repeats the envelope at all, as ours do, repeats every field of it that is
    /// there.
    fn check_envelope(&mut self, event: &Tape<'_>, fields: &Fields, place: &Place<'_>) {
        let Some(payload) = fields.payload else {
            return;
        };
        match event.kind(payload) {
            Some(Kind::Object) => {}
            Some(Kind::Null) => return,
            _ => return self.find(place, Problem::PayloadIsNoObject),
        }
        let hashed = Fields::of(event, payload).envelope;
        let repeats = REPEATED
            .iter()
            .all(|field| matches!(hashed.get(*field), Some(Some(_))));
        let contradicts =
            (0..)
                .zip(fields.envelope.into_iter().zip(hashed))
                .any(|(field, pair)| match pair {
                    (Some(said), Some(hashed)) => !is_same(event, said, hashed),
                    (Some(_), None) => repeats,
                    (None, Some(_)) => OPTIONAL.contains(&field),
                    (None, None) => false,
                });
        if contradicts {
            self.find(place, Problem::EnvelopeContradictsPayload);
        }
    }

    fn check_time(&mut self, event: &Tape<'_>, fields: &Fields, place: &Place<'_>) {
        let time = fields.envelope[OCCURRED_AT].map(|time| event.string(time));
        let Some(now) = time.and_then(|time| time.parse::<Timestamp>().ok()) else {
            return self.find(place, Problem::UnreadableTime);
        };
        self.report.first_at.get_or_insert(now);
        if self
            .report
            .last_at
            .replace(now)
            .is_some_and(|before| now < before)
        {
            self.find(place, Problem::TimeRunsBackwards);
        }
    }

    fn find(&mut self, place: &Place<'_>, problem: Problem) {
        self.report.find(Finding {
            index: Some(place.index),
            event_id: place.id.as_deref().map(bounded),
            sequence: place.sequence,
            problem,
        });
    }

    /// Reports what is wrong with the whole.
    pub(super) fn find_in_whole(&mut self, problem: Problem) {
        self.report.find(Finding::of_the_trail(problem));
    }

    /// Ends the check: against the head that the trail names, and the number of events that it says
    /// it has. A trail that names no head has the wrong one.
    #[must_use]
    pub fn finish(mut self, head: Option<&str>, count: Option<u64>) -> ChainReport {
        let last = self.last_hash.as_deref().unwrap_or(GENESIS_HASH);
        self.report.head_hash_matches = head == Some(last);
        if !self.report.head_hash_matches {
            self.find_in_whole(Problem::WrongHead);
        }
        if count.is_some_and(|count| count != self.report.events) {
            self.find_in_whole(Problem::WrongCount);
        }
        let mut report = self.report;
        report.continuation = (self.expected).map(|expected| expected.compare(&report));
        report.integrity_ok = report.adjacent && report.tampered == 0 && report.head_hash_matches;
        report
    }
}

impl Expected {
    /// How the trail of a report relates to the head.
    fn compare(&self, report: &ChainReport) -> Continuation {
        let sequence = |link: &Option<ChainLink>| link.as_ref().and_then(|link| link.sequence);
        let ends = sequence(&report.last).unwrap_or(0);
        let Some(first) = sequence(&report.first) else {
            return match self.sequence {
                // An empty trail has everything that an empty chain had.
                0 if report.events == 0 && self.hash == GENESIS_HASH => Continuation::Contains,
                _ => Continuation::EndsBefore { last: ends },
            };
        };
        match self.found {
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
            // The chain has a gap in the head's place.
            false => Continuation::Differs,
        }
    }
}

/// Which event is meant.
struct Place<'a> {
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
/// A payload with these repeats the envelope: its id, its sequence number and its type.
const REPEATED: [usize; 3] = [0, SEQUENCE, 3];
/// These may be absent from an envelope, so their absence says something.
const OPTIONAL: std::ops::Range<usize> = 4..8;

/// Where the fields of an event stand, or what its payload repeats of them. Of a repeated key the
/// last one counts.
#[derive(Default)]
struct Fields {
    /// In the order of [`ENVELOPE`]. A `null` is not there.
    envelope: [Option<usize>; ENVELOPE.len()],
    /// The id, even if it is `null`.
    id: Option<usize>,
    payload: Option<usize>,
    hash: Option<usize>,
    previous_hash: Option<usize>,
}

impl Fields {
    fn of(tape: &Tape<'_>, object: usize) -> Self {
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

/// Whether an event with the sequence number `now` comes right after one with `before`.
fn follows(before: Option<u64>, now: Option<u64>) -> bool {
    match (before, now) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(before), Some(now)) => before.checked_add(1) == Some(now),
    }
}

/// Whether `hash` is that of the payload in its place: as it was written, or else as Python writes
/// it.
fn has_hash(event: &Tape<'_>, payload: Option<usize>, previous: &str, hash: &str) -> bool {
    let Some(payload) = payload.filter(|payload| !is_falsy(event, *payload)) else {
        return sha256_hex(&[previous.as_bytes(), b"{}"]) == hash;
    };
    let is = |form: Form| {
        let text = match event.text_in(form, payload) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(event.to_string_in(form, payload)),
        };
        sha256_hex(&[previous.as_bytes(), text.as_bytes()]) == hash
    };
    let python = Form {
        spelling: Spelling::Python,
        ..CANONICAL
    };
    is(CANONICAL) || (event.is_respelled(payload) && is(python))
}

/// The SDKs hash what Python takes for false as if it were `{}`.
fn is_falsy(tape: &Tape<'_>, value: usize) -> bool {
    match tape.kind(value) {
        None | Some(Kind::Null | Kind::False) => true,
        Some(Kind::True) => false,
        Some(Kind::Number) => tape.text(value).parse() == Ok(0.0),
        Some(Kind::String) => tape.text(value) == "\"\"",
        Some(Kind::Array | Kind::Object) => tape.items(value).next().is_none(),
    }
}

/// Whether two values are the same, with numbers as they were written.
fn is_same(tape: &Tape<'_>, one: usize, other: usize) -> bool {
    tape.text(one) == tape.text(other)
        || tape.to_string_in(CANONICAL, one) == tape.to_string_in(CANONICAL, other)
}

/// What Python's `str` makes of an id. Of an array or object, its JSON.
fn python_text<'a>(tape: &Tape<'a>, value: usize) -> Cow<'a, str> {
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
