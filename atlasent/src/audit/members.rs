//! The first pass over a bundle: takes in its members, and checks its events as they go by.

use std::io::Read;

use super::MAX_DEPTH;
use super::bundle::Progress;
use super::chain::ChainVerifier;
use super::error::BundleError;
use super::report::{ChainReport, Problem};
use super::scan::Scanner;
use crate::canonical::{Form, Kind, Order, Spelling, Tape};

/// What the signature is over, in this order, with the events behind it (contract, part C).
pub(super) const SIGNED: [&str; 5] = [
    "export_id",
    "org_id",
    "chain_head_hash",
    "event_count",
    "signed_at",
];

/// A bundle after its first pass.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The values of [`SIGNED`].
    pub(super) signed: [Option<Text>; SIGNED.len()],
    pub(super) events: Events,
    pub(super) signature: Option<String>,
    pub(super) signing_key_id: Option<String>,
    chain: ChainVerifier,
    pub(super) org_id: Option<String>,
    head: Option<String>,
    count: Option<u64>,
    /// The exporter says that it found the chain broken: by its verdict, or by naming events.
    disagrees: [bool; 2],
    seen: Vec<&'static str>,
    /// A key stood twice.
    repeats: bool,
    /// Why one of the events is none. An error only if they are the ones that count.
    broken: Option<BundleError>,
}

/// A value as it is signed.
#[derive(Debug)]
pub(super) struct Text {
    written: String,
    /// As Python spells it, where it does otherwise.
    python: Option<String>,
}

/// Where the events are.
#[derive(Debug)]
pub(super) enum Events {
    /// There is no array of events, but this.
    None(Option<Text>),
    /// An array, from its opening bracket to behind the closing one.
    Array {
        start: u64,
        end: u64,
        /// It stands there as it is signed.
        plain: bool,
        /// Python spells a number in another way.
        respelled: bool,
    },
}

impl Default for Events {
    fn default() -> Self {
        Self::None(None)
    }
}

impl Text {
    pub(super) fn of(tape: &Tape<'_>) -> Self {
        let written = |spelling| tape.to_string_in(signed_form(spelling), Tape::ROOT);
        Self {
            written: written(Spelling::AsWritten),
            python: (tape.is_respelled(Tape::ROOT)).then(|| written(Spelling::Python)),
        }
    }

    pub(super) fn spelled(&self, spelling: Spelling) -> &str {
        match (spelling, &self.python) {
            (Spelling::Python, Some(python)) => python,
            _ => &self.written,
        }
    }

    pub(super) fn is_respelled(&self) -> bool {
        self.python.is_some()
    }
}

/// The form that is signed.
pub(super) fn signed_form(spelling: Spelling) -> Form {
    Form {
        order: Order::Received,
        spelling,
    }
}

impl Members {
    /// Where the events end.
    pub(super) fn end(&self) -> u64 {
        match self.events {
            Events::Array { end, .. } => end,
            Events::None(_) => 0,
        }
    }

    /// Ends the check of the chain.
    pub(super) fn finish_chain(&mut self) -> ChainReport {
        let mut chain = std::mem::take(&mut self.chain);
        if self.disagrees.contains(&true) {
            chain.find_in_whole(Problem::ExporterDisagrees);
        }
        if self.repeats {
            chain.find_in_whole(Problem::RepeatedKey);
        }
        // A count that cannot be read is none, and no chain has that many events.
        chain.finish(self.head.as_deref(), Some(self.count.unwrap_or(u64::MAX)))
    }
}

/// Reads a bundle whole: `{…}`, or `{"bundle": {…}}` with anything beside it.
///
/// `expected` names the head that the chain is expected to continue.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    expected: Option<&(u64, String)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Members, BundleError> {
    let mut reading = Reading {
        scanner,
        expected,
        progress,
    };
    let (outer, inner) = reading.object(true)?;
    if reading.scanner.peek()?.is_some() {
        return Err(reading
            .scanner
            .malformed("something stands behind the bundle"));
    }
    let mut members = inner.unwrap_or(outer);
    match members.broken.take() {
        Some(error) => Err(error),
        None => Ok(members),
    }
}

struct Reading<'a, R> {
    scanner: &'a mut Scanner<R>,
    expected: Option<&'a (u64, String)>,
    progress: &'a mut dyn FnMut(Progress),
}

impl<R: Read> Reading<'_, R> {
    /// A verifier for the events, of which those of the last array count.
    fn chain(&self) -> ChainVerifier {
        match self.expected {
            Some((sequence, hash)) => ChainVerifier::new().expect_head(*sequence, hash),
            None => ChainVerifier::new(),
        }
    }

    /// The members of an object; and of the bundle that it wraps, if it does. Of a repeated key the
    /// last one counts.
    fn object(&mut self, may_wrap: bool) -> Result<(Members, Option<Members>), BundleError> {
        self.scanner.pass(b'{')?;
        let mut members = Members {
            chain: self.chain(),
            ..Members::default()
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
            bundle.repeats |= bundles > 1;
        }
        Ok((members, wrapped))
    }

    fn member(&mut self, key: &str, members: &mut Members) -> Result<(), BundleError> {
        const OTHERS: [&str; 5] = [
            "events",
            "signature",
            "signing_key_id",
            "chain_integrity_ok",
            "tampered_event_ids",
        ];
        let known = SIGNED.iter().chain(&OTHERS).find(|known| **known == key);
        let Some(known) = known else {
            return self.scanner.skip().map(drop);
        };
        if members.seen.contains(known) {
            members.repeats = true;
        } else {
            members.seen.push(known);
        }
        match *known {
            "events" if self.scanner.peek()? == Some(b'[') => self.events(members)?,
            "events" => {
                members.events = Events::None(Some(self.text(|_| ())?.0));
                members.chain = self.chain();
                members.broken = None;
            }
            "signature" => members.signature = self.text(string)?.1,
            "signing_key_id" => members.signing_key_id = self.text(string)?.1,
            "chain_integrity_ok" => {
                let is_false = |tape: &Tape<'_>| tape.kind(Tape::ROOT) == Some(Kind::False);
                members.disagrees[0] = self.text(is_false)?.1;
            }
            "tampered_event_ids" => members.disagrees[1] = self.scanner.skip()? > 0,
            signed => {
                let (text, (string, count)) =
                    self.text(|tape| (string(tape), tape.text(Tape::ROOT).parse().ok()))?;
                match signed {
                    "chain_head_hash" => members.head = string,
                    "event_count" => members.count = count,
                    "org_id" => members.org_id = string,
                    _ => {}
                }
                let place = SIGNED.iter().position(|name| *name == signed);
                if let Some(place) = place.and_then(|place| members.signed.get_mut(place)) {
                    *place = Some(text);
                }
            }
        }
        Ok(())
    }

    /// A value that is not an array of events, and what `look` sees in it.
    fn text<T>(&mut self, look: impl FnOnce(&Tape<'_>) -> T) -> Result<(Text, T), BundleError> {
        self.scanner.peek()?;
        let at = self.scanner.position();
        let tape = Tape::of(self.scanner.value()?);
        check(&tape, at, None)?;
        Ok((Text::of(&tape), look(&tape)))
    }

    fn events(&mut self, members: &mut Members) -> Result<(), BundleError> {
        members.chain = self.chain();
        members.broken = None;
        let start = self.scanner.position();
        let spaces = self.scanner.spaces();
        let (mut plain, mut respelled) = (true, false);
        self.scanner.pass(b'[')?;
        let mut index = 0;
        while self.scanner.item(index == 0, b']')? {
            self.scanner.event = Some(index);
            self.scanner.peek()?;
            let at = self.scanner.position();
            let tape = Tape::of(self.scanner.value()?);
            match check_event(&tape, at, index) {
                Ok(()) => members.chain.check(&tape),
                Err(error) => drop(members.broken.get_or_insert(error)),
            }
            let form = signed_form(Spelling::AsWritten);
            plain &= tape.text_in(form, Tape::ROOT).is_some();
            respelled |= tape.is_respelled(Tape::ROOT);
            index += 1;
            (self.progress)(Progress::of_events(index, self.scanner.position()));
        }
        self.scanner.event = None;
        members.events = Events::Array {
            start,
            end: self.scanner.position(),
            plain: plain && self.scanner.spaces() == spaces,
            respelled,
        };
        Ok(())
    }
}

/// What no hash can be computed of is refused.
fn check(tape: &Tape<'_>, at: u64, event: Option<u64>) -> Result<(), BundleError> {
    if tape.depth() > MAX_DEPTH {
        return Err(BundleError::TooLarge {
            at,
            event,
            why: format!("a value is nested deeper than {MAX_DEPTH} levels"),
        });
    }
    if tape.is_halved() {
        return Err(BundleError::Malformed {
            at,
            event,
            why: "a string with half a surrogate pair is in the value".into(),
        });
    }
    Ok(())
}

fn check_event(tape: &Tape<'_>, at: u64, index: u64) -> Result<(), BundleError> {
    if tape.kind(Tape::ROOT) == Some(Kind::Object) {
        return check(tape, at, Some(index));
    }
    Err(BundleError::Malformed {
        at,
        event: Some(index),
        why: "an event is no object".into(),
    })
}

fn string(tape: &Tape<'_>) -> Option<String> {
    (tape.kind(Tape::ROOT) == Some(Kind::String)).then(|| tape.string(Tape::ROOT).into_owned())
}
