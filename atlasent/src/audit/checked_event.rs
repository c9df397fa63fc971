//! The checks of one event that need no other event.

use std::borrow::Cow;

use jiff::Timestamp;

use super::hash::{has_hash, is_same};
use super::report::Problem;
use crate::canonical::{Kind, Tape, python_spelling};

/// The fields of an event that its neighbors are compared with, and the results of the checks that
/// need no other event. It borrows nothing from the event's text.
#[derive(Debug)]
pub(super) struct CheckedEvent {
    /// The id, as Python's `str` prints it. `None` if it is missing.
    pub(super) id: Option<String>,
    /// The sequence number. `None` if it cannot be read.
    pub(super) sequence: Option<u64>,
    /// The hash. `None` if it is not a string.
    pub(super) hash: Option<String>,
    /// The hash of the previous event as this event names it. `None` if it is not a string.
    pub(super) previous_hash: Option<String>,
    /// Whether the hash fits the payload, if `previous_hash` is the hash of the previous event.
    pub(super) hash_fits: bool,
    /// Whether an object in the event repeats a key.
    pub(super) repeats_key: bool,
    /// The problem of the payload's repetition of the envelope.
    pub(super) envelope_problem: Option<Problem>,
    /// The time at which the event happened. `None` if it cannot be read.
    pub(super) occurred_at: Option<Timestamp>,
}

impl CheckedEvent {
    /// Checks an event: a JSON object.
    pub(super) fn new(event: &Tape<'_>) -> Self {
        let fields = EventFields::read(event, Tape::ROOT);
        let [hash, previous_hash] =
            [fields.hash, fields.previous_hash].map(|node| string(event, node));
        let hash_fits = match (&hash, &previous_hash) {
            (Some(hash), Some(previous)) => has_hash(event, fields.payload, previous, hash),
            _ => false,
        };
        let occurred_at = fields.envelope[OCCURRED_AT].map(|time| event.string(time));
        Self {
            id: fields.id.map(|id| python_str(event, id).into_owned()),
            sequence: (fields.envelope[SEQUENCE]).and_then(|node| event.text(node).parse().ok()),
            hash: hash.map(Cow::into_owned),
            previous_hash: previous_hash.map(Cow::into_owned),
            hash_fits,
            repeats_key: event.has_repeated_keys(),
            envelope_problem: envelope_problem(event, &fields),
            occurred_at: occurred_at.and_then(|time| time.parse().ok()),
        }
    }
}

/// Whether the hash of an event fits its payload after the hash `previous`.
pub(super) fn has_hash_after(event: &Tape<'_>, previous: &str) -> bool {
    let fields = EventFields::read(event, Tape::ROOT);
    string(event, fields.hash).is_some_and(|hash| has_hash(event, fields.payload, previous, &hash))
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

/// Compares the envelope, which is outside the hash, with the fields that the payload repeats.
///
/// A payload that repeats the fields of [`MARKERS`], as those of the embedded authority do, must
/// repeat every field of the envelope.
///
/// ```text
/// envelope            payload                     problem
/// actor_id: "a"       {"actor_id":"b"}            contradicts: the values differ
/// decision: "allow"   {"reason":"x"}              none: does not repeat the envelope
/// decision: "allow"   {id, sequence, type}        contradicts: repeats the envelope without `decision`
/// (no decision)       {"decision":"allow"}        contradicts: an optional field was removed
/// ```
fn envelope_problem(event: &Tape<'_>, fields: &EventFields) -> Option<Problem> {
    let payload = fields.payload?;
    match event.kind(payload) {
        Some(Kind::Object) => {}
        Some(Kind::Null) => return None,
        _ => return Some(Problem::PayloadIsNoObject),
    }
    let hashed = EventFields::read(event, payload).envelope;
    let repeats_envelope = MARKERS
        .iter()
        .all(|field| matches!(hashed.get(*field), Some(Some(_))));
    let contradicts = (0..)
        .zip(fields.envelope.into_iter().zip(hashed))
        .any(|(field, pair)| match pair {
            (Some(unhashed), Some(hashed)) => !is_same(event, unhashed, hashed),
            (Some(_), None) => repeats_envelope,
            (None, Some(_)) => OPTIONAL.contains(&field),
            (None, None) => false,
        });
    contradicts.then_some(Problem::EnvelopeContradictsPayload)
}

/// Returns the characters of a node that is a string.
fn string<'a>(tape: &Tape<'a>, node: Option<usize>) -> Option<Cow<'a, str>> {
    node.filter(|node| tape.kind(*node) == Some(Kind::String))
        .map(|node| tape.string(node))
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
