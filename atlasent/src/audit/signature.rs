//! The signature over a bundle, and the second pass over its events to check it.

use std::io::{self, Read, Seek, SeekFrom};

use ed25519_dalek::{Signature, StreamVerifier};

use super::error::BundleError;
use super::keys::{TrustedKey, TrustedKeys};
use super::members::{BundleMembers, EventsMember, SIGNED, signed_form};
use super::progress::Progress;
use super::scan::{Scanner, SizeLimits};
use crate::canonical::{Spelling, Tape};

/// How many bytes one read takes where the events are hashed as they stand.
const CHUNK: usize = 64 * 1024;

/// The reason that the SDKs give without a trusted key. Its words are the server's, which shares
/// their code.
const NO_KEYS: &str = "no signing keys configured (signing_keys table empty and \
    ATLASENT_EXPORT_SIGNING_KEY_PUBLIC unset)";

/// The id of the trusted key that made the signature; or the reason why the signature is not valid,
/// in the words of the SDKs.
pub(super) type MatchedKey = Result<String, String>;

/// The signature that a bundle carries.
pub(super) struct BundleSignature {
    /// `None` if the bytes cannot be a signature: they have another length, or a number in them is
    /// too large.
    signature: Option<Signature>,
}

/// Decodes the signature of a bundle. The error is the reason why it is not valid.
pub(super) fn parse(
    members: &BundleMembers,
    keys: &TrustedKeys,
) -> Result<BundleSignature, String> {
    if keys.is_empty() {
        return Err(NO_KEYS.into());
    }
    let signature = members.signature.as_deref().unwrap_or_default();
    if signature.is_empty() {
        return Err("bundle carries no signature".into());
    }
    let bytes = decode(signature).map_err(|why| format!("signature check failed: {why}"))?;
    Ok(BundleSignature {
        signature: Signature::from_slice(&bytes).ok(),
    })
}

/// Reads the events a second time, and checks the signature over them. The key that the bundle
/// names is tried first, then the others.
pub(super) fn verify<R: Read + Seek>(
    signature: &BundleSignature,
    members: &BundleMembers,
    keys: &TrustedKeys,
    source: &mut EventSource<'_, R>,
) -> Result<MatchedKey, BundleError> {
    let hint = members.signing_key_id.as_deref();
    let (named, others): (Vec<_>, Vec<_>) = (keys.all().iter())
        .partition(|key| hint.is_some_and(|hint| !hint.is_empty() && key.id == hint));
    for group in [named, others] {
        let mut candidates = Candidates::new(signature, members, &group);
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

/// The reader of the second pass.
pub(super) struct EventSource<'a, R> {
    pub(super) reader: R,
    pub(super) limits: SizeLimits,
    pub(super) progress: &'a mut dyn FnMut(Progress),
}

/// The combinations of key and spelling under which the signature may be valid.
struct Candidates(Vec<Candidate>);

/// A key and a spelling, and the state of the check under both.
struct Candidate {
    id: String,
    spelling: Spelling,
    verifier: StreamVerifier,
}

impl Candidates {
    fn new(signature: &BundleSignature, members: &BundleMembers, keys: &[&TrustedKey]) -> Self {
        // Python signs its own spelling of numbers, also of numbers that it read from a signer in
        // another language. So both spellings are tried for the whole bundle: they denote the same
        // values.
        let spellings: &[Spelling] = match is_respelled(members) {
            true => &[Spelling::AsWritten, Spelling::Python],
            false => &[Spelling::AsWritten],
        };
        let candidates = keys.iter().flat_map(|key| {
            spellings.iter().filter_map(|spelling| {
                Some(Candidate {
                    id: key.id.clone(),
                    spelling: *spelling,
                    verifier: (key.key)
                        .verify_stream(signature.signature.as_ref()?)
                        .ok()?,
                })
            })
        });
        Self(candidates.collect())
    }

    /// Adds text to the signed bytes of the candidates with this spelling.
    fn update(&mut self, spelling: Spelling, text: &[u8]) {
        for candidate in &mut self.0 {
            if candidate.spelling == spelling {
                candidate.verifier.update(text);
            }
        }
    }

    /// Adds text to the signed bytes of all candidates.
    fn update_all(&mut self, text: &[u8]) {
        self.update(Spelling::AsWritten, text);
        self.update(Spelling::Python, text);
    }

    /// Returns the spellings of the candidates, each once.
    fn spellings(&self) -> Vec<Spelling> {
        let all = [Spelling::AsWritten, Spelling::Python];
        let wanted = all
            .into_iter()
            .filter(|spelling| (self.0.iter()).any(|candidate| candidate.spelling == *spelling));
        wanted.collect()
    }

    /// Adds the signed bytes of the bundle: `{"export_id":…,"org_id":…,…,"events":[…]}`.
    fn feed<R: Read + Seek>(
        &mut self,
        members: &BundleMembers,
        source: &mut EventSource<'_, R>,
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
            EventsMember::NotArray(value) => {
                for spelling in spellings {
                    let text = value.as_ref().map_or("null", |text| text.spelled(spelling));
                    self.update(spelling, text.as_bytes());
                }
            }
            EventsMember::Array {
                start,
                end,
                verbatim: true,
                respelled: false,
            } => self.feed_bytes(*start, *end, source)?,
            EventsMember::Array { start, .. } => self.feed_events(*start, source)?,
        }
        self.update_all(b"}");
        Ok(())
    }

    /// Adds the array of events as it stands, because it already has the form that is signed.
    fn feed_bytes<R: Read + Seek>(
        &mut self,
        start: u64,
        end: u64,
        source: &mut EventSource<'_, R>,
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
            (source.progress)(Progress::signature(at));
        }
        Ok(())
    }

    /// Reads the events one by one, and adds each in the form that is signed.
    fn feed_events<R: Read + Seek>(
        &mut self,
        start: u64,
        source: &mut EventSource<'_, R>,
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
            let tape = Tape::parse(scanner.value()?);
            for &spelling in &spellings {
                text.clear();
                tape.write(signed_form(spelling), Tape::ROOT, &mut text);
                self.update(spelling, text.as_bytes());
            }
            index += 1;
            (source.progress)(Progress::signature(scanner.position()));
        }
        self.update_all(b"]");
        Ok(())
    }

    /// Returns the id of the first key under which the signature is valid.
    fn finish(self) -> Option<String> {
        let mut candidates = self.0.into_iter();
        candidates.find_map(|candidate| {
            let verified = candidate.verifier.finalize_and_verify();
            verified.is_ok().then_some(candidate.id)
        })
    }
}

impl<R: Seek> EventSource<'_, R> {
    fn seek(&mut self, at: u64) -> Result<(), BundleError> {
        let sought = self.reader.seek(SeekFrom::Start(at));
        sought
            .map(drop)
            .map_err(|source: io::Error| BundleError::Io { at, source })
    }
}

/// Whether Python spells a number in the signed part of the bundle differently.
fn is_respelled(members: &BundleMembers) -> bool {
    let in_members = members
        .signed
        .iter()
        .flatten()
        .any(|text| text.is_respelled());
    in_members
        || match &members.events {
            EventsMember::NotArray(value) => value.as_ref().is_some_and(|text| text.is_respelled()),
            EventsMember::Array { respelled, .. } => *respelled,
        }
}

/// Decodes base64 in either alphabet, padded or not. As in Python's decoder, characters of neither
/// alphabet, such as line breaks, are ignored. The error texts are Python's.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    if !text.is_ascii() {
        return Err("string argument should contain only ASCII characters".into());
    }
    // Python's SDK pads the text to a multiple of four characters.
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
