//! Removes the secrets of a call from the texts that leave it.
//!
//! A call remembers its API key, the tokens and approvals that it sends, and each token that it
//! receives. Errors, refusals and log lines are decoded and then scrubbed of all of them, because a
//! server may escape a secret (`\u0070…`), put it into JSON inside a string, or repeat a part of
//! it.
//!
//! Secrets that the server has encoded as base64 or hex, encrypted or hashed are not recognized.
//!
//! # Example
//!
//! The call sends the token `permit_2f9d4c8b7a6e5f10`. The server answers with status 403:
//!
//! ```text
//! {"message":"no permit_2f9d4c8b7a6e5f10","jwt":"eyJhbGciOi","detail":"{\"key\":\"k-1\"}"}
//! ```
//!
//! ```text
//! step              remembers, or replaces
//! add_permit        permit_2f9d4c8b7a6e5f10
//! scrub_error_body
//!   collect         eyJhbGciOi, since `jwt` names a secret; k-1, from the JSON inside `detail`
//!   rewrite         "no permit_2f9d4c8b7a6e5f10"  becomes  "no …6e5f10": holds a known secret
//!                   "eyJhbGciOi"                  becomes  "…": short secrets show nothing
//!                   "{\"key\":\"k-1\"}"           becomes  "{\"key\":\"…\"}": the JSON inside is rewritten
//! ```
//!
//! A text that repeats only a part, such as `permit_2f9d4c8b7 is unknown`, becomes `… is unknown`:
//! every 8 adjacent characters of a token are removed.
//!
//! The program needs the values in a successful answer. So the answer keeps its numbers, the words
//! of the contract, such as `escalate` (`words.rs`), and texts that equal a secret of less than 8
//! characters. Otherwise, a request with `"max_tokens":1` in its context would remove each `1` from
//! its answer.

mod scalars;
mod words;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

use serde::de::IgnoredAny;

use super::credential::Credential;
use crate::text::redact::Redacted;
use crate::text::unescape::{contains, holds};
use crate::wire::PermitToken;
use scalars::{BodyKind, Scalar, Scalars, Sensitivity, is_snake_case};
use words::is_contract_word;

/// The length of the parts of a secret that are removed from texts, in characters. Shorter parts
/// stay: otherwise the token `p` would change every word with a `p`.
const PIECE_CHARS: usize = 8;
/// How many levels of JSON inside strings of JSON are decoded.
const MAX_NESTING: usize = 3;
/// The maximum number of received tokens that a call remembers; a batch of evaluations has fewer.
/// If a server sends more, none of its texts are shown.
const MAX_TOKENS: usize = 256;
/// The maximum size of all received tokens together, in bytes.
const MAX_TOKEN_BYTES: usize = 1024 * 1024;
/// Replaces a text that must not be shown.
const HIDDEN: &str = "…";

/// Whether to hide or to keep a text that equals a secret of less than [`PIECE_CHARS`] characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ShortSecrets {
    Hide,
    Keep,
}

/// The secrets of one call.
#[derive(Default)]
pub(crate) struct Secrets {
    credential: Option<Credential>,
    /// Tokens, which are removed whole and in parts. The longest comes first, since a token may
    /// contain another.
    tokens: Vec<String>,
    /// Values of approvals that were sent, which are removed whole. The longest comes first.
    evidence: Vec<String>,
    /// The number of received tokens, and their size in bytes.
    received: (usize, usize),
    /// Whether the server sent more tokens than are remembered. No text is shown then.
    is_full: bool,
    /// All parts of the credential and the tokens with [`PIECE_CHARS`] characters, computed at the
    /// first use.
    pieces: OnceLock<HashSet<[char; PIECE_CHARS]>>,
}

impl Secrets {
    /// Creates the secrets of a call that uses this credential.
    pub(super) fn new(credential: &Credential) -> Self {
        Self {
            credential: Some(credential.clone()),
            ..Self::default()
        }
    }

    /// Remembers a permit token that is sent.
    pub(super) fn add_permit(&mut self, permit: &PermitToken) {
        self.add_token(permit.expose(), BodyKind::Request);
    }

    /// Remembers the secrets in the body of a request.
    pub(super) fn add_request(&mut self, json: &str) {
        let evidence = self.collect(json, BodyKind::Request, MAX_NESTING);
        for text in evidence {
            // An approval repeats public values of the request, such as the action's name.
            let mut scalars = Scalars::new(json, BodyKind::Request);
            let is_public = scalars.any(|scalar| {
                scalar.sensitivity == Sensitivity::Public
                    && scalar.text.is_some_and(|other| other == text)
            });
            if !is_public && is_long(&text) && !self.evidence.contains(&text) {
                insert(&mut self.evidence, text);
            }
        }
    }

    /// Remembers the tokens in the body of a success, and removes secrets from its other members. A
    /// token stays in the member that is named as one.
    pub(crate) fn scrub_answer<'t>(&mut self, json: &'t str) -> Cow<'t, str> {
        match self.collect_answer(json) {
            true => Cow::Borrowed(json),
            false => self.rewrite(json, BodyKind::Success, 0),
        }
    }

    /// Remembers the tokens in the body of a success. Returns `true` if the body certainly holds no
    /// secret outside the members that are named as tokens, as almost every body.
    fn collect_answer(&mut self, json: &str) -> bool {
        let mut is_clean = true;
        // The text between the tokens.
        let mut others = Vec::new();
        let mut end = 0;
        // Tokens of a server are strings, so a number such as `max_tokens` is not a secret.
        let strings = Scalars::new(json, BodyKind::Success).filter(|scalar| !scalar.is_number);
        for scalar in strings {
            match (scalar.sensitivity, &scalar.text) {
                (Sensitivity::Secret, Some(token)) => self.add_token(token, BodyKind::Success),
                (Sensitivity::DecisionId, Some(_)) => {}
                _ => continue,
            }
            is_clean &= self.replacement(&scalar, BodyKind::Success, 0).is_none();
            others.push(json.get(end..scalar.range.start).unwrap_or_default());
            end = scalar.range.end;
        }
        others.push(json.get(end..).unwrap_or_default());
        is_clean && !self.is_full && others.iter().all(|text| self.is_without_secrets(text))
    }

    /// Remembers the secrets in the body of an error, and returns the body without them. `None` if
    /// the body is not JSON.
    pub(crate) fn scrub_error_body(&mut self, body: &[u8]) -> Option<String> {
        let json = str::from_utf8(body).ok().filter(|json| is_json(json))?;
        self.collect(json, BodyKind::Error, MAX_NESTING);
        Some(
            self.rewrite(json, BodyKind::Error, MAX_NESTING)
                .into_owned(),
        )
    }

    /// Returns a text without secrets, and without parts of tokens or the key that have 8 or more
    /// characters.
    pub(crate) fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.without_secrets(text, ShortSecrets::Hide) {
            Cow::Borrowed(text) => self.without_pieces(text),
            Cow::Owned(text) => match self.without_pieces(&text) {
                Cow::Owned(scrubbed) => Cow::Owned(scrubbed),
                Cow::Borrowed(_) => Cow::Owned(text),
            },
        }
    }

    /// Whether a text contains a secret, or a part of one.
    pub(super) fn occur_in(&self, text: &str) -> bool {
        matches!(self.scrub(text), Cow::Owned(_))
    }

    /// Remembers the values of members that hold secrets, and returns those of approvals.
    fn collect(&mut self, json: &str, kind: BodyKind, nested: usize) -> Vec<String> {
        let mut evidence = Vec::new();
        for Scalar {
            sensitivity, text, ..
        } in Scalars::new(json, kind)
        {
            let Some(text) = text else { continue };
            match sensitivity {
                Sensitivity::Secret => self.add_token(&text, kind),
                Sensitivity::Evidence => evidence.push(text.clone().into_owned()),
                Sensitivity::Public | Sensitivity::Name | Sensitivity::DecisionId => {}
            }
            if let Some(nested) = nested.checked_sub(1)
                && holds_json(&text)
            {
                evidence.extend(self.collect(&text, kind, nested));
            }
        }
        evidence
    }

    fn add_token(&mut self, token: &str, kind: BodyKind) {
        if token.is_empty() || self.tokens.iter().any(|known| known == token) {
            return;
        }
        if kind != BodyKind::Request && !self.has_room(token) {
            return;
        }
        insert(&mut self.tokens, token.to_owned());
        self.pieces = OnceLock::new();
    }

    /// Counts a received token, and returns whether it can be remembered.
    fn has_room(&mut self, token: &str) -> bool {
        let (tokens, bytes) = &mut self.received;
        *tokens = tokens.saturating_add(1);
        *bytes = bytes.saturating_add(token.len());
        self.is_full |= *tokens > MAX_TOKENS || *bytes > MAX_TOKEN_BYTES;
        !self.is_full
    }

    /// Replaces the strings and numbers that contain a secret. The rest stays byte for byte.
    fn rewrite<'t>(&self, json: &'t str, kind: BodyKind, nested: usize) -> Cow<'t, str> {
        let mut rewritten = String::new();
        let mut done = 0;
        for scalar in Scalars::new(json, kind) {
            let Some(text) = self.replacement(&scalar, kind, nested) else {
                continue;
            };
            rewritten.push_str(json.get(done..scalar.range.start).unwrap_or_default());
            rewritten.push_str(&serde_json::Value::from(text).to_string());
            done = scalar.range.end;
        }
        // A text that is not JSON stays as it is.
        if done == 0 || !is_json(json) {
            return Cow::Borrowed(json);
        }
        rewritten.push_str(json.get(done..).unwrap_or_default());
        Cow::Owned(rewritten)
    }

    /// Returns the text that replaces a scalar. `None` if the scalar stays.
    fn replacement(&self, scalar: &Scalar<'_>, kind: BodyKind, nested: usize) -> Option<String> {
        let is_error = kind == BodyKind::Error;
        if scalar.is_number && !is_error {
            return None;
        }
        let Some(text) = &scalar.text else {
            return is_error.then(|| HIDDEN.to_owned());
        };
        if matches!(
            scalar.sensitivity,
            Sensitivity::DecisionId | Sensitivity::Secret
        ) {
            let without_key = self.credential.as_ref().and_then(|key| key.scrubbed(text));
            let is_shown = is_error && !text.is_empty();
            return without_key.or_else(|| is_shown.then(|| Redacted(text).to_string()));
        }
        // Reading an answer needs the names of its members, and no token is a plain name.
        if scalar.sensitivity == Sensitivity::Name && !is_error && is_snake_case(text) {
            return None;
        }
        if !is_error && is_contract_word(text) {
            return None;
        }
        let scrubbed = match is_error {
            true => self.scrub(text),
            false => self.without_secrets(text, ShortSecrets::Keep),
        };
        if let Some(nested) = nested.checked_sub(1)
            && holds_json(text)
            && let Cow::Owned(inside) = self.rewrite(text, kind, nested)
        {
            return Some(self.scrub(&inside).into_owned());
        }
        match scrubbed {
            Cow::Owned(scrubbed) => Some(scrubbed),
            Cow::Borrowed(_) => None,
        }
    }

    /// Replaces each secret that occurs whole in a text. Hides the text if a secret occurs in it
    /// behind escapes.
    fn without_secrets<'t>(&self, text: &'t str, short: ShortSecrets) -> Cow<'t, str> {
        if self.is_full {
            return Cow::Owned(HIDDEN.to_owned());
        }
        let is_short_secret = || short == ShortSecrets::Hide && self.secrets().any(|s| s == text);
        if self.is_without_secrets(text) && !is_short_secret() {
            return Cow::Borrowed(text);
        }
        let mut scrubbed = Cow::Borrowed(text);
        if let Some(without) = self.credential.as_ref().and_then(|key| key.scrubbed(text)) {
            scrubbed = Cow::Owned(without);
        }
        for secret in self.secrets() {
            let is_in = match is_long(secret) {
                true => scrubbed.contains(secret),
                false => short == ShortSecrets::Hide && scrubbed == secret,
            };
            if is_in {
                scrubbed = Cow::Owned(scrubbed.replace(secret, &Redacted(secret).to_string()));
            }
        }
        if self.long_secrets().any(|secret| holds(&scrubbed, secret)) {
            return Cow::Owned(HIDDEN.to_owned());
        }
        scrubbed
    }

    /// Whether a text certainly contains neither the credential nor a long secret: it has no
    /// escapes that could hide one.
    fn is_without_secrets(&self, text: &str) -> bool {
        let has_escapes = text.bytes().any(|byte| matches!(byte, b'\\' | b'%'));
        !has_escapes && !self.long_secrets().any(|secret| contains(text, secret))
    }

    /// Returns the credential, and the tokens and values of approvals that are long enough to be
    /// removed from a longer text.
    fn long_secrets(&self) -> impl Iterator<Item = &str> {
        let key = self.credential.as_ref().map(Credential::expose);
        key.into_iter()
            .chain(self.secrets().filter(|secret| is_long(secret)))
    }

    /// Returns the tokens and the values of approvals.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().chain(&self.evidence).map(String::as_str)
    }

    /// Replaces each part of a text that is a part of a token or the credential, with at least
    /// [`PIECE_CHARS`] characters.
    ///
    /// With `PIECE_CHARS` 4 and the token `abcdefg`, the pieces are `abcd`, `bcde`, `cdef` and
    /// `defg`. In the text `x bcdef y`, the windows at bytes 2 (`bcde`) and 3 (`cdef`) are pieces.
    /// The first one writes `x ` and `…`; the second one overlaps it and only moves `end` to 7. The
    /// rest, ` y`, follows.
    fn without_pieces<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let pieces = self.pieces.get_or_init(|| {
            let key = self.credential.as_ref().map(Credential::secret_part);
            let secrets = self.tokens.iter().map(String::as_str).chain(key);
            secrets.flat_map(windows).map(|(_, piece)| piece).collect()
        });
        let mut scrubbed = String::new();
        // The end of the last replaced part.
        let mut end = 0;
        for (at, piece) in windows(text) {
            if !pieces.contains(&piece) {
                continue;
            }
            if at >= end {
                scrubbed.push_str(text.get(end..at).unwrap_or_default());
                scrubbed.push_str(HIDDEN);
            }
            end = at + piece.iter().map(|c| c.len_utf8()).sum::<usize>();
        }
        if end == 0 {
            return Cow::Borrowed(text);
        }
        scrubbed.push_str(text.get(end..).unwrap_or_default());
        Cow::Owned(scrubbed)
    }
}

/// Prints no secret.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Inserts a secret behind all longer ones.
fn insert(secrets: &mut Vec<String>, secret: String) {
    let index = secrets.partition_point(|known| known.len() > secret.len());
    secrets.insert(index, secret);
}

/// Returns all runs of [`PIECE_CHARS`] consecutive characters, each with its position in bytes.
fn windows(text: &str) -> impl Iterator<Item = (usize, [char; PIECE_CHARS])> {
    let mut characters = text.char_indices();
    let mut window = [(0, '\0'); PIECE_CHARS];
    let mut filled = 0;
    std::iter::from_fn(move || {
        loop {
            let next = characters.next()?;
            window.rotate_left(1);
            if let Some(last) = window.last_mut() {
                *last = next;
            }
            filled += 1;
            if filled >= PIECE_CHARS {
                let start = window.first().map_or(0, |(at, _)| *at);
                return Some((start, window.map(|(_, character)| character)));
            }
        }
    })
}

fn is_long(secret: &str) -> bool {
    secret.chars().nth(PIECE_CHARS - 1).is_some()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether a string contains JSON: an object, an array or a string.
fn holds_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"']) && is_json(text)
}

#[cfg(test)]
mod tests;
