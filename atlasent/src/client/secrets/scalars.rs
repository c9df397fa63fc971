//! The strings and numbers of a JSON text, each where it stands, and whether its place is one for
//! secrets.
//!
//! A text that is rewritten string by string keeps everything else byte for byte: numbers as they
//! were spelled, members that stand twice, any depth. In
//! `{"result":{"permit_token":"p"},"ids":[7]}` there are six scalars: the three names, `"p"` in a
//! place for secrets, and `7`.

use std::borrow::Cow;
use std::ops::Range;

/// Which side a JSON text came from, and so what its members' names say about their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The body of a request of ours.
    Request,
    /// A success. Its members are data, so only names that end in `token` tell a secret.
    Answer,
    /// The body of an error. It is shown to people, so any name that sounds like a secret makes
    /// one.
    Refusal,
}

/// Where a scalar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The value of a member that holds no secret.
    Open,
    /// The name of a member.
    Name,
    /// `decision_id` of a success: the token on an allow, and an id for everybody on a refusal.
    Id,
    /// A value inside an approval that goes with a request. Much of it may be known to all.
    Evidence,
    /// The value of a member that holds a secret, or anything below it.
    Secret,
}

/// One string, with its quotes, or one number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scalar<'a> {
    pub(super) range: Range<usize>,
    pub(super) place: Place,
    /// What it says; none when it holds half a surrogate pair, which no text can.
    pub(super) text: Option<Cow<'a, str>>,
}

/// All scalars of a JSON text, in their order. Of a text that is not JSON, any.
pub(super) struct Scalars<'a> {
    json: &'a str,
    source: Source,
    at: usize,
    /// The places of the values in the objects and arrays that are open.
    open: Vec<Place>,
    /// What the name before the next value says of it.
    named: Place,
}

impl<'a> Scalars<'a> {
    pub(super) fn new(json: &'a str, source: Source) -> Self {
        Self {
            json,
            source,
            at: 0,
            open: Vec::new(),
            named: Place::Open,
        }
    }

    /// The place of the next value: its own name's, or that of what it stands in.
    fn place(&self) -> Place {
        let around = self.open.last().copied().unwrap_or(Place::Open);
        self.named.max(around)
    }

    fn string(&mut self, start: usize) -> Scalar<'a> {
        let bytes = self.json.as_bytes();
        let mut end = start + 1;
        let mut escapes = false;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'"' => break,
                b'\\' => {
                    escapes = true;
                    end += 2;
                }
                _ => end += 1,
            }
        }
        let range = start..(end + 1).min(bytes.len());
        self.at = range.end;
        let inside = self.json.get(start + 1..end).unwrap_or_default();
        let text = match escapes {
            false => Some(Cow::Borrowed(inside)),
            true => {
                let literal = self.json.get(range.clone()).unwrap_or_default();
                serde_json::from_str(literal).ok().map(Cow::Owned)
            }
        };
        let rest = bytes.get(range.end..).unwrap_or_default();
        let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        let place = match next {
            Some(b':') => {
                // A name that is no text may be any.
                self.named = match &text {
                    Some(name) => place_of(name, self.source),
                    None => Place::Secret,
                };
                Place::Name
            }
            _ => self.place(),
        };
        Scalar { range, place, text }
    }

    fn number(&mut self, start: usize) -> Scalar<'a> {
        let rest = self.json.get(start..).unwrap_or_default();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at = start + length;
        Scalar {
            range: start..self.at,
            place: self.place(),
            text: rest.get(..length).map(Cow::Borrowed),
        }
    }
}

impl<'a> Iterator for Scalars<'a> {
    type Item = Scalar<'a>;

    fn next(&mut self) -> Option<Scalar<'a>> {
        loop {
            let start = self.at;
            let byte = *self.json.as_bytes().get(start)?;
            self.at += 1;
            match byte {
                b'"' => return Some(self.string(start)),
                b'-' | b'0'..=b'9' => return Some(self.number(start)),
                b'{' | b'[' => {
                    let place = self.place();
                    self.open.push(place);
                    self.named = Place::Open;
                }
                b'}' | b']' => {
                    self.open.pop();
                    self.named = Place::Open;
                }
                b',' => self.named = Place::Open,
                _ => {}
            }
        }
    }
}

/// What the name of a member says about its value. Case and separators do not matter: `apiKey` is
/// `api_key`.
fn place_of(name: &str, source: Source) -> Place {
    let word = match is_plain(name) {
        true => Cow::Borrowed(name),
        false => {
            let letters = name.chars().filter(|c| c.is_alphanumeric());
            Cow::Owned(letters.flat_map(char::to_lowercase).collect::<String>())
        }
    };
    let word = word.as_ref();
    let is_token = word.ends_with("token") || word.ends_with("tokens") || word.contains("jwt");
    let is_secret = match source {
        Source::Answer => is_token,
        Source::Request | Source::Refusal => {
            is_token
                || SECRETS.contains(&word)
                || DECISION_ID.contains(&word)
                || PARTS_OF_SECRETS.iter().any(|part| word.contains(part))
        }
    };
    let is_evidence = source == Source::Request
        && ["approval", "proof", "override", "artifact"]
            .iter()
            .any(|part| word.contains(part));
    match (is_secret, is_evidence) {
        (true, _) => Place::Secret,
        (false, true) => Place::Evidence,
        (false, false) if DECISION_ID.contains(&word) => Place::Id,
        (false, false) => Place::Open,
    }
}

/// Whether a name is written as nearly all on the wire are, `permit_token`. It is compared as it is
/// then, without an allocation.
pub(super) fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The name that older servers give to the token of an allow, with its separators and without.
const DECISION_ID: [&str; 2] = ["decision_id", "decisionid"];

/// Names whose values are secrets.
const SECRETS: [&str; 3] = ["key", "permit", "auth"];

/// What the names of secrets hold, with their separators and without.
const PARTS_OF_SECRETS: [&str; 19] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "authorization",
    "credential",
    "bearer",
    "cookie",
    "signature",
    "nonce",
    "assertion",
    "api_key",
    "apikey",
    "access_key",
    "accesskey",
    "private_key",
    "privatekey",
    "session_id",
    "sessionid",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn scalars(json: &str, source: Source) -> Vec<(Place, String)> {
        Scalars::new(json, source)
            .map(|scalar| (scalar.place, scalar.text.unwrap_or_default().into_owned()))
            .collect()
    }

    fn secrets(json: &str, source: Source) -> Vec<String> {
        let all = scalars(json, source).into_iter();
        all.filter(|(place, _)| *place == Place::Secret)
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn every_scalar_is_found_where_it_stands() {
        let json = r#" {"result" : {"permit_token":"p\"1"},"ids":[7, -1.5e3],"t":true,"":null} "#;
        let found: Vec<_> = Scalars::new(json, Source::Refusal).collect();
        let texts: Vec<_> = found
            .iter()
            .map(|scalar| (scalar.place, json.get(scalar.range.clone()).unwrap()))
            .collect();
        use Place::{Name, Open, Secret};
        assert_eq!(
            texts,
            [
                (Name, "\"result\""),
                (Name, "\"permit_token\""),
                (Secret, r#""p\"1""#),
                (Name, "\"ids\""),
                (Open, "7"),
                (Open, "-1.5e3"),
                (Name, "\"t\""),
                (Name, "\"\""),
            ]
        );
        assert_eq!(found[2].text.as_deref(), Some("p\"1"));
    }

    #[test]
    fn a_name_covers_all_that_stands_below_it_and_nothing_beside_it() {
        let json = r#"{"tokens":["a",{"x":["b"]}],"y":"c","apiKey":{"v":1},"z":"d","per\u006dit_token":"e"}"#;
        assert_eq!(secrets(json, Source::Refusal), ["a", "b", "1", "e"]);
    }

    #[test]
    fn a_name_is_the_same_however_it_is_spelled() {
        for name in [
            "api_key",
            "apiKey",
            "API-Key",
            "ApiKey",
            "apikey",
            "x_api_key",
            "decision_id",
            "decisionId",
            "DECISION_ID",
            "sessionId",
            "private_key",
            "PrivateKey",
            "accessToken",
            "Authorization",
            "key",
            "permit",
        ] {
            assert_eq!(place_of(name, Source::Refusal), Place::Secret, "{name}");
        }
        for name in [
            "message",
            "key_id",
            "keyId",
            "permit_id",
            "decision",
            "reason",
            "",
            "monkey",
        ] {
            assert_eq!(place_of(name, Source::Refusal), Place::Open, "{name}");
        }
        assert_eq!(place_of("decisionId", Source::Answer), Place::Id);
    }

    #[test]
    fn an_answer_s_members_are_data_unless_they_are_tokens() {
        let json = r#"{"permit_token":"a","key_id":"b","signature":"c","token_type":"d","decision_id":"e","jwt":"f"}"#;
        assert_eq!(secrets(json, Source::Answer), ["a", "f"]);
        assert_eq!(secrets(json, Source::Refusal), ["a", "c", "d", "e", "f"]);
    }

    #[test]
    fn an_approval_of_a_request_is_evidence_and_its_signature_a_secret() {
        let json = r#"{"action_type":"a","approval":{"approval_id":"b","artifact":{"nonce":"c"}}}"#;
        let found = scalars(json, Source::Request);
        assert!(found.contains(&(Place::Evidence, "b".to_owned())));
        assert!(found.contains(&(Place::Secret, "c".to_owned())));
        assert!(found.contains(&(Place::Open, "a".to_owned())));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        let half: Vec<_> = Scalars::new(r#"{"\ud800":"x"}"#, Source::Answer).collect();
        assert_eq!(half[0].text, None);
        assert_eq!(half[1].place, Place::Secret);
    }

    proptest! {
        #[test]
        fn any_text_is_walked_without_panic(text in any::<String>(), soup in r#"["\\\{\}\[\]:,u0a -]{0,40}"#) {
            for json in [text, soup] {
                for scalar in Scalars::new(&json, Source::Request) {
                    prop_assert!(json.get(scalar.range).is_some());
                }
            }
        }

        #[test]
        fn any_string_of_any_json_is_found(texts in prop::collection::vec(any::<String>(), 0..8)) {
            let json = Value::from(texts.clone()).to_string();
            let found: Vec<_> = Scalars::new(&json, Source::Answer).map(|scalar| scalar.text.unwrap().into_owned()).collect();
            prop_assert_eq!(found, texts);
        }
    }
}
