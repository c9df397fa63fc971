//! The signature over a bundle, and the second pass over its events to check it.

use std::io::{self, Read, Seek, SeekFrom};

use ed25519_dalek::{Signature, StreamVerifier};

use super::bundle::Progress;
use super::error::BundleError;
use super::keys::{TrustedKey, TrustedKeys};
use super::members::{Events, Members, SIGNED, signed_form};
use super::scan::{Limits, Scanner};
use crate::canonical::{Spelling, Tape};

/// How much is read at once where it is only hashed.
const CHUNK: usize = 64 * 1024;

/// What the SDKs say when there is no key: the words of the server, which shares their code.
const NO_KEYS: &str = "no signing keys configured (signing_keys table empty and \
    ATLASENT_EXPORT_SIGNING_KEY_PUBLIC unset)";

/// What became of a signature: the id of the key that it is by, or why it is nobody's, in the words
/// of the SDKs.
pub(super) type Signed = Result<String, String>;

/// What has to be checked.
pub(super) struct Claim {
    /// None when it cannot be a signature: it has another length, or a number in it is too large.
    signature: Option<Signature>,
}

/// Whether there is anything to check; else the verdict.
pub(super) fn claim(members: &Members, keys: &TrustedKeys) -> Result<Claim, String> {
    if keys.is_empty() {
        return Err(NO_KEYS.into());
    }
    let signature = members.signature.as_deref().unwrap_or_default();
    if signature.is_empty() {
        return Err("bundle carries no signature".into());
    }
    let bytes = decode(signature).map_err(|why| format!("signature check failed: {why}"))?;
    Ok(Claim {
        signature: Signature::from_slice(&bytes).ok(),
    })
}

/// Reads the events once more, and checks the signature over them.
pub(super) fn check<R: Read + Seek>(
    claim: &Claim,
    members: &Members,
    keys: &TrustedKeys,
    source: &mut Source<'_, R>,
) -> Result<Signed, BundleError> {
    let hint = members.signing_key_id.as_deref();
    let (named, others): (Vec<_>, Vec<_>) = (keys.all().iter())
        .partition(|key| hint.is_some_and(|hint| !hint.is_empty() && key.id == hint));
    for group in [named, others] {
        let mut candidates = Candidates::new(claim, members, &group);
        if candidates.0.is_empty() {
            continue;
        }
        candidates.feed(members, source)?;
        if let Some(id) = candidates.finish() {
            return Ok(Ok(id));
        }
    }
    let count = keys.len();
    Ok(Err(format!(
        "signature did not verify under any of {count} configured public key(s)"
    )))
}

/// Where the events are read from.
pub(super) struct Source<'a, R> {
    pub(super) reader: R,
    pub(super) limits: Limits,
    pub(super) progress: &'a mut dyn FnMut(Progress),
}

/// The keys and spellings that the signature may be by and over.
struct Candidates(Vec<Candidate>);

struct Candidate {
    id: String,
    spelling: Spelling,
    verifier: StreamVerifier,
}

impl Candidates {
    fn new(claim: &Claim, members: &Members, keys: &[&TrustedKey]) -> Self {
        // Python signs its own spelling of numbers. What it has read from a signer in another
        // language it spells anew too, so each is tried for the whole: both denote the same values.
        let spellings: &[Spelling] = match is_respelled(members) {
            true => &[Spelling::AsWritten, Spelling::Python],
            false => &[Spelling::AsWritten],
        };
        let candidates = keys.iter().flat_map(|key| {
            spellings.iter().filter_map(|spelling| {
                Some(Candidate {
                    id: key.id.clone(),
                    spelling: *spelling,
                    verifier: key.key.verify_stream(claim.signature.as_ref()?).ok()?,
                })
            })
        });
        Self(candidates.collect())
    }

    fn update(&mut self, spelling: Spelling, text: &[u8]) {
        for candidate in &mut self.0 {
            if candidate.spelling == spelling {
                candidate.verifier.update(text);
            }
        }
    }

    fn update_all(&mut self, text: &[u8]) {
        self.update(Spelling::AsWritten, text);
        self.update(Spelling::Python, text);
    }

    /// The spellings that there are candidates for.
    fn spellings(&self) -> Vec<Spelling> {
        let all = [Spelling::AsWritten, Spelling::Python];
        let wanted = all
            .into_iter()
            .filter(|spelling| (self.0.iter()).any(|candidate| candidate.spelling == *spelling));
        wanted.collect()
    }

    fn feed<R: Read + Seek>(
        &mut self,
        members: &Members,
        source: &mut Source<'_, R>,
    ) -> Result<(), BundleError> {
        let spellings = self.spellings();
        for (index, (name, value)) in SIGNED.iter().zip(&members.signed).enumerate() {
            self.update_all(if index == 0 { b"{\"" } else { b",\"" });
            self.update_all(name.as_bytes());
            self.update_all(b"\":");
            for &spelling in &spellings {
                let text = value.as_ref().map_or("null", |text| text.spelled(spelling));
                self.update(spelling, text.as_bytes());
            }
        }
        self.update_all(b",\"events\":");
        match &members.events {
            Events::None(value) => {
                for spelling in spellings {
                    let text = value.as_ref().map_or("null", |text| text.spelled(spelling));
                    self.update(spelling, text.as_bytes());
                }
            }
            Events::Array {
                start,
                end,
                plain: true,
                respelled: false,
            } => self.feed_bytes(*start, *end, source)?,
            Events::Array { start, .. } => self.feed_events(*start, source)?,
        }
        self.update_all(b"}");
        Ok(())
    }

    /// The events stand there as they were signed.
    fn feed_bytes<R: Read + Seek>(
        &mut self,
        start: u64,
        end: u64,
        source: &mut Source<'_, R>,
    ) -> Result<(), BundleError> {
        let mut at = start;
        source.seek(at)?;
        let mut buffer = vec![0; CHUNK];
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let chunk = buffer.get_mut(..most).unwrap_or_default();
            source
                .reader
                .read_exact(chunk)
                .map_err(|source| BundleError::Io { at, source })?;
            self.update_all(chunk);
            at += most as u64;
            (source.progress)(Progress::of_signature(at));
        }
        Ok(())
    }

    /// The events are written as they were signed.
    fn feed_events<R: Read + Seek>(
        &mut self,
        start: u64,
        source: &mut Source<'_, R>,
    ) -> Result<(), BundleError> {
        source.seek(start)?;
        let mut scanner = Scanner::new(&mut source.reader, start, source.limits);
        scanner.pass(b'[')?;
        self.update_all(b"[");
        let spellings = self.spellings();
        let mut text = String::new();
        let mut index = 0;
        while scanner.item(index == 0, b']')? {
            scanner.event = Some(index);
            if index > 0 {
                self.update_all(b",");
            }
            let tape = Tape::of(scanner.value()?);
            for &spelling in &spellings {
                text.clear();
                tape.write(signed_form(spelling), Tape::ROOT, &mut text);
                self.update(spelling, text.as_bytes());
            }
            index += 1;
            (source.progress)(Progress::of_signature(scanner.position()));
        }
        self.update_all(b"]");
        Ok(())
    }

    /// The first one under which the signature is good.
    fn finish(self) -> Option<String> {
        let mut candidates = self.0.into_iter();
        candidates.find_map(|candidate| {
            let verified = candidate.verifier.finalize_and_verify();
            verified.is_ok().then_some(candidate.id)
        })
    }
}

impl<R: Seek> Source<'_, R> {
    fn seek(&mut self, at: u64) -> Result<(), BundleError> {
        let sought = self.reader.seek(SeekFrom::Start(at));
        sought
            .map(drop)
            .map_err(|source: io::Error| BundleError::Io { at, source })
    }
}

fn is_respelled(members: &Members) -> bool {
    let in_members = members
        .signed
        .iter()
        .flatten()
        .any(|text| text.is_respelled());
    in_members
        || match &members.events {
            Events::None(value) => value.as_ref().is_some_and(|text| text.is_respelled()),
            Events::Array { respelled, .. } => *respelled,
        }
}

/// Base64 in either alphabet, padded or not. Like Python's decoder it passes over characters of
/// neither alphabet, such as line breaks; the words for what is wrong are Python's too.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    if !text.is_ascii() {
        return Err("string argument should contain only ASCII characters".into());
    }
    // Python adds the padding that the text as a whole is short of.
    let padding = text.len().wrapping_neg() % 4;
    let characters = text.bytes().chain(std::iter::repeat_n(b'=', padding));
    let (mut bytes, mut bits, mut count, mut pads) = (Vec::new(), 0_u32, 0_usize, 0);
    for character in characters {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                pads += 1;
                if count % 4 >= 2 && count % 4 + pads >= 4 {
                    return Ok(bytes);
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        bits = bits << 6 | u32::from(six);
        count += 1;
        if count % 4 != 1 {
            let [.., byte] = (bits >> (6 - 2 * ((count + 3) % 4))).to_be_bytes();
            bytes.push(byte);
        }
    }
    match count % 4 {
        0 => Ok(bytes),
        1 => Err(format!(
            "Invalid base64-encoded string: number of data characters ({count}) cannot be 1 more than a multiple of 4"
        )),
        _ => Err("Incorrect padding".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_python_reads_it() {
        // What `urlsafe_b64decode(text + "=" * (-len(text) % 4))` answers in Python 3.11.
        let read: [(&str, &[u8]); 10] = [
            ("", &[]),
            ("AA", &[0]),
            ("AAF", &[0, 1]),
            ("AB", &[0]),
            ("AAA=", &[0, 0]),
            ("-_-_", &[251, 255, 191]),
            ("+/\n+/", &[251, 255, 191]),
            ("AA==BB", &[0]),
            ("====AAAA", &[0, 0, 0]),
            ("=", &[]),
        ];
        for (text, bytes) in read {
            assert_eq!(decode(text).as_deref(), Ok(bytes), "{text}");
        }
        for (text, why) in [
            (
                "AAAAA",
                "Invalid base64-encoded string: number of data characters (5) cannot be 1 more than a multiple of 4",
            ),
            ("A=A=", "Incorrect padding"),
            ("AA=A", "Incorrect padding"),
            ("A\nA!", "Incorrect padding"),
            ("é", "string argument should contain only ASCII characters"),
        ] {
            assert_eq!(decode(text), Err(why.to_owned()), "{text}");
        }
    }
}
