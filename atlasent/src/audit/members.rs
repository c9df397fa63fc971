//! The first pass over a bundle: reads its members, and checks its events one by one.
//!
//! # Example
//!
//! ```text
//! {"export_id":"x", "events":[{"id":"e1",…}, {"id":"e2",…}], "signature":"c2ln", "event_count":2, "note":{…}}
//! ```
//!
//! [`BundleReader`] goes from member to member. The [`Scanner`] holds one value at a time, and the
//! [`EventPipeline`] some events:
//!
//! ```text
//! reads               state of `BundleMembers` afterwards
//! {                   empty; a new `ChainVerifier`
//! "export_id":"x"     signed[0] = `"x"`, kept as text for the second pass
//! "events":[          a new `ChainVerifier`, since a repeated `events` replaces the first
//!   {"id":"e1",…}     pushed to the pipeline, which checks it and adds the result to the verifier
//!   {"id":"e2",…}     the same; the space before it makes the array not verbatim
//! ]                   events = Array { start: 27, end: …, verbatim: false, respelled: false }
//! "signature":"c2ln"  signature = c2ln
//! "event_count":2     count = 2, signed[3] = `2`
//! "note":{…}          skipped
//! }                   done: the head is missing, which `finish_chain` reports
//! ```
//!
//! If the object has a member `bundle` that is an object, that inner object is the bundle. Both are
//! read in the same pass, because the outer members that come first could also be a bundle's.

use std::io::Read;
use std::thread;

use super::chain::ChainVerifier;
use super::error::BundleError;
use super::hash::check_value;
use super::pipeline::EventPipeline;
use super::progress::Progress;
use super::report::{ChainReport, Problem};
use super::scan::Scanner;
use crate::canonical::{Form, KeyOrder, Kind, Spelling, Tape};

/// The members that the signature covers, in this order and followed by the events (contract, part
/// C).
pub(super) const SIGNED: [&str; 5] = [
    "export_id",
    "org_id",
    "chain_head_hash",
    "event_count",
    "signed_at",
];

/// A bundle after its first pass.
#[derive(Debug, Default)]
pub(super) struct BundleMembers {
    /// The values of [`SIGNED`].
    pub(super) signed: [Option<SignedText>; SIGNED.len()],
    pub(super) events: EventsMember,
    pub(super) signature: Option<String>,
    pub(super) signing_key_id: Option<String>,
    chain: ChainVerifier,
    pub(super) org_id: Option<String>,
    head: Option<String>,
    count: Option<u64>,
    /// Whether the exporter reports the chain as broken: with `chain_integrity_ok`, and with
    /// `tampered_event_ids`.
    exporter_disagrees: [bool; 2],
    /// The known keys read so far.
    seen: Vec<&'static str>,
    /// Whether a known key is repeated.
    has_repeated_key: bool,
    /// The first invalid event of the last `events` member.
    invalid_event: Option<BundleError>,
}

/// The text of a value in the form that is signed.
#[derive(Debug)]
pub(super) struct SignedText {
    /// The text with numbers as they were written.
    written: String,
    /// The text with numbers as Python spells them. `None` if it is the same text.
    python: Option<String>,
}

/// The `events` member of a bundle.
#[derive(Debug)]
pub(super) enum EventsMember {
    /// A value that is not an array. `None` if the member is missing.
    NotArray(Option<SignedText>),
    /// An array.
    Array {
        /// The position of the opening bracket, in bytes.
        start: u64,
        /// The position behind the closing bracket.
        end: u64,
        /// Whether the text of the array already has the form that is signed.
        verbatim: bool,
        /// Whether Python spells a number in the array differently.
        respelled: bool,
    },
}

impl Default for EventsMember {
    fn default() -> Self {
        Self::NotArray(None)
    }
}

impl SignedText {
    pub(super) fn new(tape: &Tape<'_>) -> Self {
        let written = |spelling| tape.to_string_in(signed_form(spelling), Tape::ROOT);
        Self {
            written: written(Spelling::AsWritten),
            python: (tape.is_respelled(Tape::ROOT)).then(|| written(Spelling::Python)),
        }
    }

    /// Returns the text with numbers in this spelling.
    pub(super) fn spelled(&self, spelling: Spelling) -> &str {
        match (spelling, &self.python) {
            (Spelling::Python, Some(python)) => python,
            _ => &self.written,
        }
    }

    /// Whether Python spells a number in the text differently.
    pub(super) fn is_respelled(&self) -> bool {
        self.python.is_some()
    }
}

/// Returns the form that is signed.
pub(super) fn signed_form(spelling: Spelling) -> Form {
    Form {
        order: KeyOrder::Received,
        spelling,
    }
}

impl BundleMembers {
    /// Returns the position behind the events, in bytes; 0 without an array of events.
    pub(super) fn events_end(&self) -> u64 {
        match self.events {
            EventsMember::Array { end, .. } => end,
            EventsMember::NotArray(_) => 0,
        }
    }

    /// Ends the check of the chain.
    pub(super) fn finish_chain(&mut self) -> ChainReport {
        let mut chain = std::mem::take(&mut self.chain);
        if self.exporter_disagrees.contains(&true) {
            chain.add_trail_finding(Problem::ExporterDisagrees);
        }
        if self.has_repeated_key {
            chain.add_trail_finding(Problem::RepeatedKey);
        }
        // A missing or unreadable count becomes `u64::MAX`, which no chain has: it is reported as
        // wrong.
        chain.finish(self.head.as_deref(), Some(self.count.unwrap_or(u64::MAX)))
    }
}

/// Reads a bundle to its end: `{…}`, or `{"bundle": {…}}` with any members beside it.
///
/// `expected` is the head that the chain is expected to continue.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    expected: Option<&(u64, String)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<BundleMembers, BundleError> {
    let mut reader = BundleReader {
        scanner,
        expected,
        progress,
    };
    let (outer, inner) = reader.object(true)?;
    if reader.scanner.peek()?.is_some() {
        return Err(reader.scanner.malformed("more text follows the bundle"));
    }
    let mut members = inner.unwrap_or(outer);
    match members.invalid_event.take() {
        Some(error) => Err(error),
        None => Ok(members),
    }
}

struct BundleReader<'a, R> {
    scanner: &'a mut Scanner<R>,
    expected: Option<&'a (u64, String)>,
    progress: &'a mut dyn FnMut(Progress),
}

impl<R: Read> BundleReader<'_, R> {
    /// Creates a verifier for the events. A repeated `events` member starts a new one.
    fn new_chain(&self) -> ChainVerifier {
        match self.expected {
            Some((sequence, hash)) => ChainVerifier::new().expect_head(*sequence, hash),
            None => ChainVerifier::new(),
        }
    }

    /// Reads the members of an object, and of the bundle that it wraps. If a key is repeated, its
    /// last value counts.
    fn object(
        &mut self,
        may_wrap: bool,
    ) -> Result<(BundleMembers, Option<BundleMembers>), BundleError> {
        self.scanner.pass(b'{')?;
        let mut members = BundleMembers {
            chain: self.new_chain(),
            ..BundleMembers::default()
        };
        let mut wrapped = None;
        let mut bundles = 0_u32;
        let mut first = true;
        while let Some(key) = self.scanner.member(first)? {
            first = false;
            if may_wrap && key == "bundle" {
                bundles = bundles.saturating_add(1);
                wrapped = match self.scanner.peek()? {
                    Some(b'{') => Some(self.object(false)?.0),
                    _ => {
                        self.scanner.skip()?;
                        None
                    }
                };
            } else {
                self.member(&key, &mut members)?;
            }
        }
        if let Some(bundle) = &mut wrapped {
            bundle.has_repeated_key |= bundles > 1;
        }
        Ok((members, wrapped))
    }

    /// Reads the value of a member. Unknown members are skipped.
    fn member(&mut self, key: &str, members: &mut BundleMembers) -> Result<(), BundleError> {
        const UNSIGNED: [&str; 5] = [
            "events",
            "signature",
            "signing_key_id",
            "chain_integrity_ok",
            "tampered_event_ids",
        ];
        let known = SIGNED.iter().chain(&UNSIGNED).find(|known| **known == key);
        let Some(known) = known else {
            return self.scanner.skip().map(drop);
        };
        if members.seen.contains(known) {
            members.has_repeated_key = true;
        } else {
            members.seen.push(known);
        }
        match *known {
            "events" if self.scanner.peek()? == Some(b'[') => self.events(members)?,
            "events" => {
                members.events = EventsMember::NotArray(Some(self.text(|_| ())?.0));
                members.chain = self.new_chain();
                members.invalid_event = None;
            }
            "signature" => members.signature = self.text(string)?.1,
            "signing_key_id" => members.signing_key_id = self.text(string)?.1,
            "chain_integrity_ok" => {
                let is_false = |tape: &Tape<'_>| tape.kind(Tape::ROOT) == Some(Kind::False);
                members.exporter_disagrees[0] = self.text(is_false)?.1;
            }
            "tampered_event_ids" => members.exporter_disagrees[1] = self.scanner.skip()? > 0,
            signed => {
                let (text, (string, count)) =
                    self.text(|tape| (string(tape), tape.text(Tape::ROOT).parse().ok()))?;
                match signed {
                    "chain_head_hash" => members.head = string,
                    "event_count" => members.count = count,
                    "org_id" => members.org_id = string,
                    _ => {}
                }
                let index = SIGNED.iter().position(|name| *name == signed);
                if let Some(value) = index.and_then(|index| members.signed.get_mut(index)) {
                    *value = Some(text);
                }
            }
        }
        Ok(())
    }

    /// Reads a value that is kept as signed text, and passes it to `extract`.
    fn text<T>(
        &mut self,
        extract: impl FnOnce(&Tape<'_>) -> T,
    ) -> Result<(SignedText, T), BundleError> {
        self.scanner.peek()?;
        let at = self.scanner.position();
        let tape = Tape::parse(self.scanner.value()?);
        check_value(&tape, at, None)?;
        Ok((SignedText::new(&tape), extract(&tape)))
    }

    /// Reads the array of events, and checks each event.
    fn events(&mut self, members: &mut BundleMembers) -> Result<(), BundleError> {
        let start = self.scanner.position();
        let spaces = self.scanner.spaces();
        self.scanner.pass(b'[')?;
        let results = thread::scope(|scope| {
            let mut pipeline = EventPipeline::new(scope, self.new_chain());
            let mut index = 0;
            while self.scanner.item(index == 0, b']')? {
                self.scanner.event = Some(index);
                self.scanner.peek()?;
                let at = self.scanner.position();
                let (checked, position) = pipeline.push(index, at, self.scanner.value()?);
                (self.progress)(Progress::chain(checked, position));
                index += 1;
            }
            Ok(pipeline.finish())
        })?;
        self.scanner.event = None;
        members.chain = results.chain;
        members.invalid_event = results.invalid_event;
        members.events = EventsMember::Array {
            start,
            end: self.scanner.position(),
            verbatim: results.verbatim && self.scanner.spaces() == spaces,
            respelled: results.respelled,
        };
        Ok(())
    }
}

fn string(tape: &Tape<'_>) -> Option<String> {
    (tape.kind(Tape::ROOT) == Some(Kind::String)).then(|| tape.string(Tape::ROOT).into_owned())
}
