//! The secrets of one call, sent and received, and texts without them.
//!
//! A call knows its API key, the tokens and approvals that it sends, and each token that comes
//! back, whatever became of the call. What leaves it as an error, a refusal or a log line is
//! scrubbed of all of them, decoded first: a server may spell a secret `\u0070…`, put it into JSON
//! inside of a string, or repeat a part of it.
//!
//! Not recognized: a secret that the server has encoded as base64 or hex, encrypted or hashed.

mod scalars;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

use serde::de::IgnoredAny;

use super::key::ApiKey;
use crate::text::redact::Redacted;
use crate::text::unescape::holds;
use crate::wire::PermitToken;
use scalars::{Place, Scalar, Scalars, Source, is_plain};

/// How many characters of a secret may stand together in a text. Anything shorter is not looked for
/// inside of texts, or the token `p` would leave no word whole.
const PIECE: usize = 8;
/// How deep JSON is followed into the strings of JSON.
const NESTED: usize = 3;
/// How many tokens of a server a call remembers, and how many bytes of them: more than a batch of
/// evaluations brings. One that sends more is not repeated at all.
const MOST_TOKENS: usize = 256;
const MOST_BYTES: usize = 1024 * 1024;
/// Takes the place of what cannot be shown.
const HIDDEN: &str = "…";

/// What one call must not repeat.
#[derive(Default)]
pub(crate) struct Secrets {
    key: Option<ApiKey>,
    /// Not shown whole, nor in part. The longest comes first, since one may hold another.
    tokens: Vec<String>,
    /// Approvals that were sent: not shown whole. The longest comes first.
    evidence: Vec<String>,
    /// How many tokens came back, and how many bytes they have.
    received: (usize, usize),
    is_full: bool,
    pieces: OnceLock<HashSet<[char; PIECE]>>,
}

impl Secrets {
    pub(super) fn of(key: &ApiKey) -> Self {
        Self {
            key: Some(key.clone()),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, permit: &PermitToken) {
        self.add_token(permit.expose(), Source::Request);
    }

    /// Remembers the secrets in the body of a request.
    pub(super) fn of_request(&mut self, json: &str) {
        let evidence = self.collect(json, Source::Request, NESTED);
        for text in evidence {
            // What the request also says in the open, such as the action's name, is no secret.
            let mut scalars = Scalars::new(json, Source::Request);
            let is_known = scalars.any(|scalar| {
                scalar.place == Place::Open && scalar.text.is_some_and(|other| other == text)
            });
            if !is_known && is_long(&text) && !self.evidence.contains(&text) {
                insert(&mut self.evidence, text);
            }
        }
    }

    /// Remembers the secrets of a success, and returns it without what it repeats of them. Tokens
    /// stay where they belong: in the members that are named so.
    pub(crate) fn answer<'t>(&mut self, json: &'t str) -> Cow<'t, str> {
        self.collect(json, Source::Answer, 0);
        self.rewrite(json, Source::Answer, 0)
    }

    /// Remembers the secrets in the body of an error, and returns it without them; none when it is
    /// not JSON.
    pub(crate) fn refusal(&mut self, body: &[u8]) -> Option<String> {
        let json = str::from_utf8(body).ok().filter(|json| is_json(json))?;
        self.collect(json, Source::Refusal, NESTED);
        Some(self.rewrite(json, Source::Refusal, NESTED).into_owned())
    }

    /// A text without any secret, and without any eight characters of a token or the key that stand
    /// together.
    pub(crate) fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.without_whole(text) {
            Cow::Borrowed(text) => self.without_pieces(text),
            Cow::Owned(text) => match self.without_pieces(&text) {
                Cow::Owned(scrubbed) => Cow::Owned(scrubbed),
                Cow::Borrowed(_) => Cow::Owned(text),
            },
        }
    }

    /// Whether a text holds a secret, or a part of one.
    pub(super) fn are_in(&self, text: &str) -> bool {
        matches!(self.scrub(text), Cow::Owned(_))
    }

    /// Adds all that stands in places for secrets, and returns what is evidence.
    fn collect(&mut self, json: &str, source: Source, nested: usize) -> Vec<String> {
        let mut evidence = Vec::new();
        for Scalar { place, text, .. } in Scalars::new(json, source) {
            let Some(text) = text else { continue };
            match place {
                Place::Secret => self.add_token(&text, source),
                Place::Evidence => evidence.push(text.clone().into_owned()),
                Place::Open | Place::Name | Place::Id => {}
            }
            if let Some(nested) = nested.checked_sub(1)
                && holds_json(&text)
            {
                evidence.extend(self.collect(&text, source, nested));
            }
        }
        evidence
    }

    fn add_token(&mut self, token: &str, source: Source) {
        if token.is_empty() || self.tokens.iter().any(|known| known == token) {
            return;
        }
        if source != Source::Request && !self.has_room(token) {
            return;
        }
        insert(&mut self.tokens, token.to_owned());
        self.pieces = OnceLock::new();
    }

    /// Whether one more can be remembered. Once one could not, no text is shown.
    fn has_room(&mut self, token: &str) -> bool {
        let (tokens, bytes) = &mut self.received;
        *tokens = tokens.saturating_add(1);
        *bytes = bytes.saturating_add(token.len());
        self.is_full |= *tokens > MOST_TOKENS || *bytes > MOST_BYTES;
        !self.is_full
    }

    /// Rewrites the scalars that hold a secret. The rest stays byte for byte.
    fn rewrite<'t>(&self, json: &'t str, source: Source, nested: usize) -> Cow<'t, str> {
        let mut rewritten = String::new();
        let mut done = 0;
        for scalar in Scalars::new(json, source) {
            let Some(text) = self.replacement(&scalar, source, nested) else {
                continue;
            };
            rewritten.push_str(json.get(done..scalar.range.start).unwrap_or_default());
            rewritten.push_str(&serde_json::Value::from(text).to_string());
            done = scalar.range.end;
        }
        // A text that is not JSON is not made into one.
        if done == 0 || !is_json(json) {
            return Cow::Borrowed(json);
        }
        rewritten.push_str(json.get(done..).unwrap_or_default());
        Cow::Owned(rewritten)
    }

    /// What is to stand in the place of a scalar; none when it may stay.
    fn replacement(&self, scalar: &Scalar<'_>, source: Source, nested: usize) -> Option<String> {
        let is_refusal = source == Source::Refusal;
        let Some(text) = &scalar.text else {
            return is_refusal.then(|| HIDDEN.to_owned());
        };
        if matches!(scalar.place, Place::Id | Place::Secret) {
            let without_key = self.key.as_ref().and_then(|key| key.scrubbed(text));
            let is_shown = is_refusal && !text.is_empty();
            return without_key.or_else(|| is_shown.then(|| Redacted(text).to_string()));
        }
        // An answer is read by its names, and no token is one.
        if scalar.place == Place::Name && !is_refusal && is_plain(text) {
            return None;
        }
        let scrubbed = match is_refusal {
            true => self.scrub(text),
            false => self.without_whole(text),
        };
        if let Some(nested) = nested.checked_sub(1)
            && holds_json(text)
            && let Cow::Owned(inside) = self.rewrite(text, source, nested)
        {
            return Some(self.scrub(&inside).into_owned());
        }
        match scrubbed {
            Cow::Owned(scrubbed) => Some(scrubbed),
            Cow::Borrowed(_) => None,
        }
    }

    fn without_whole<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_full {
            return Cow::Owned(HIDDEN.to_owned());
        }
        let mut scrubbed = Cow::Borrowed(text);
        if let Some(without) = self.key.as_ref().and_then(|key| key.scrubbed(text)) {
            scrubbed = Cow::Owned(without);
        }
        let secrets = || self.tokens.iter().chain(&self.evidence);
        for secret in secrets() {
            let is_in = scrubbed == *secret || (is_long(secret) && scrubbed.contains(secret));
            if is_in {
                scrubbed = Cow::Owned(scrubbed.replace(secret, &Redacted(secret).to_string()));
            }
        }
        let key = self.key.as_ref().map(ApiKey::expose);
        let mut hidden = key.into_iter().chain(
            secrets()
                .map(String::as_str)
                .filter(|secret| is_long(secret)),
        );
        if hidden.any(|secret| holds(&scrubbed, secret)) {
            return Cow::Owned(HIDDEN.to_owned());
        }
        scrubbed
    }

    /// Replaces each part of a text that is part of a secret and at least [`PIECE`] characters
    /// long.
    fn without_pieces<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let pieces = self.pieces.get_or_init(|| {
            let key = self.key.as_ref().map(ApiKey::secret_part);
            let secrets = self.tokens.iter().map(String::as_str).chain(key);
            secrets.flat_map(windows).map(|(_, piece)| piece).collect()
        });
        let mut scrubbed = String::new();
        // Where the part that was replaced last ends.
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

/// Prints none of them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Inserts a secret behind all that are longer.
fn insert(secrets: &mut Vec<String>, secret: String) {
    let place = secrets.partition_point(|known| known.len() > secret.len());
    secrets.insert(place, secret);
}

/// All [`PIECE`] characters that stand together, with the byte that they begin at.
fn windows(text: &str) -> impl Iterator<Item = (usize, [char; PIECE])> {
    let mut characters = text.char_indices();
    let mut window = [(0, '\0'); PIECE];
    let mut filled = 0;
    std::iter::from_fn(move || {
        loop {
            let next = characters.next()?;
            window.rotate_left(1);
            if let Some(last) = window.last_mut() {
                *last = next;
            }
            filled += 1;
            if filled >= PIECE {
                let start = window.first().map_or(0, |(at, _)| *at);
                return Some((start, window.map(|(_, character)| character)));
            }
        }
    })
}

fn is_long(secret: &str) -> bool {
    secret.chars().nth(PIECE - 1).is_some()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether a string holds an object or an array, written as JSON.
fn holds_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"']) && is_json(text)
}

#[cfg(test)]
mod tests;
