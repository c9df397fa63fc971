//! Lists the strings and numbers of a JSON text, each with its position and its sensitivity.
//!
//! Replacing single scalars in a text keeps everything else byte for byte: the spelling of numbers,
//! repeated members, any depth.
//!
//! # Example
//!
//! `{"result":{"permit_token":"p"},"ids":[7]}` has five scalars. `containers` is the stack of the
//! unclosed objects and arrays, each with the sensitivity of its values; `member` is the
//! sensitivity that the last name gives to its value:
//!
//! ```text
//! reads           containers      member  yields
//! {               Public          Public
//! "result"        Public          Public  range 1..9, Name
//! {               Public Public   Public
//! "permit_token"  Public Public   Secret  range 11..25, Name
//! "p"             Public Public   Secret  range 26..29, Secret: the higher of `member` and the container
//! }               Public          Public
//! ,               Public          Public
//! "ids"           Public          Public  range 31..36, Name
//! [               Public Public   Public
//! 7               Public Public   Public  range 38..39, Public
//! ] }                             Public
//! ```
//!
//! In `{"tokens":[["a"]]}`, `member` is Secret when the outer array begins. So both arrays are
//! pushed as Secret, and `"a"` is Secret.

use std::borrow::Cow;
use std::ops::Range;

/// The origin of a JSON text, which decides which names of members mark a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// The body of a request.
    Request,
    /// The body of a success. The program reads its members, so only names of tokens mark a secret.
    Success,
    /// The body of an error. It is shown to people, so any name that sounds like a secret marks
    /// one.
    Error,
}

/// The sensitivity of a scalar, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sensitivity {
    /// A value that is not a secret.
    Public,
    /// The name of a member.
    Name,
    /// The `decision_id` of a success: the token of an allow, or the public id of a refusal.
    DecisionId,
    /// A value inside an approval that is sent with a request. Some of these values are public.
    Evidence,
    /// The value of a member that holds a secret, or a value inside it.
    Secret,
}

/// A string, with its quotes, or a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scalar<'a> {
    pub(super) range: Range<usize>,
    pub(super) sensitivity: Sensitivity,
    /// The decoded text. `None` if it contains half a surrogate pair, which no Rust string can
    /// hold.
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) is_number: bool,
}

/// Iterates over the scalars of a JSON text, in its order. Any other text yields arbitrary scalars.
pub(super) struct Scalars<'a> {
    json: &'a str,
    kind: BodyKind,
    /// The position of the next byte.
    at: usize,
    /// The sensitivity of the values in each unclosed object and array, outermost first.
    containers: Vec<Sensitivity>,
    /// The sensitivity that the name of the current member gives to its value.
    member: Sensitivity,
}

impl<'a> Scalars<'a> {
    pub(super) fn new(json: &'a str, kind: BodyKind) -> Self {
        Self {
            json,
            kind,
            at: 0,
            containers: Vec::new(),
            member: Sensitivity::Public,
        }
    }

    /// Returns the sensitivity of the next value: the higher one of its member's and its
    /// container's.
    fn sensitivity(&self) -> Sensitivity {
        let container = self
            .containers
            .last()
            .copied()
            .unwrap_or(Sensitivity::Public);
        self.member.max(container)
    }

    fn string(&mut self, start: usize) -> Scalar<'a> {
        let bytes = self.json.as_bytes();
        let mut end = start + 1;
        let mut escapes = false;
        loop {
            let rest = bytes.get(end..).unwrap_or_default();
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            end += plain.unwrap_or(rest.len());
            if bytes.get(end) != Some(&b'\\') {
                break;
            }
            escapes = true;
            end += 2;
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
        let sensitivity = match next {
            Some(b':') => {
                // A name that cannot be decoded may be the name of a secret.
                self.member = match &text {
                    Some(name) => sensitivity_of_member(name, self.kind),
                    None => Sensitivity::Secret,
                };
                Sensitivity::Name
            }
            _ => self.sensitivity(),
        };
        Scalar {
            range,
            sensitivity,
            text,
            is_number: false,
        }
    }

    fn number(&mut self, start: usize) -> Scalar<'a> {
        let rest = self.json.get(start..).unwrap_or_default();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at = start + length;
        Scalar {
            range: start..self.at,
            sensitivity: self.sensitivity(),
            text: rest.get(..length).map(Cow::Borrowed),
            is_number: true,
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
                    let sensitivity = self.sensitivity();
                    self.containers.push(sensitivity);
                    self.member = Sensitivity::Public;
                }
                b'}' | b']' => {
                    self.containers.pop();
                    self.member = Sensitivity::Public;
                }
                b',' => self.member = Sensitivity::Public,
                _ => {}
            }
        }
    }
}

/// Returns the sensitivity that the name of a member gives to its value. Case and separators are
/// ignored: `apiKey` is `api_key`.
fn sensitivity_of_member(name: &str, kind: BodyKind) -> Sensitivity {
    match PUBLIC_NAMES.contains(&name) {
        true => Sensitivity::Public,
        false => sensitivity_of_word(name, kind),
    }
}

/// Returns what [`sensitivity_of_member`] returns for a name that is not known to be public.
fn sensitivity_of_word(name: &str, kind: BodyKind) -> Sensitivity {
    let word = match is_snake_case(name) {
        true => Cow::Borrowed(name),
        false => {
            let letters = name.chars().filter(|c| c.is_alphanumeric());
            Cow::Owned(letters.flat_map(char::to_lowercase).collect::<String>())
        }
    };
    let word = word.as_ref();
    let is_secret = match kind {
        BodyKind::Success => {
            word.ends_with("token") || word.ends_with("tokens") || contains_part(word, jwt)
        }
        BodyKind::Request | BodyKind::Error => {
            SECRETS.contains(&word)
                || DECISION_ID.contains(&word)
                || contains_part(word, parts_of_secrets)
        }
    };
    let is_evidence = kind == BodyKind::Request && contains_part(word, parts_of_evidence);
    match (is_secret, is_evidence) {
        (true, _) => Sensitivity::Secret,
        (false, true) => Sensitivity::Evidence,
        (false, false) if DECISION_ID.contains(&word) => Sensitivity::DecisionId,
        (false, false) => Sensitivity::Public,
    }
}

/// Whether a name has only lower-case letters and `_`, as nearly all on the wire do. Such a name is
/// compared without an allocation.
pub(super) fn is_snake_case(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The names that most bodies of decisions and verifications have. They mark no secret in any body.
/// Looking them up first halves the time that a body takes.
const PUBLIC_NAMES: [&str; 16] = [
    "action_type",
    "actor_id",
    "audit_hash",
    "consumed",
    "context",
    "decision",
    "environment",
    "execution_hash",
    "expires_at",
    "outcome",
    "permit_hash",
    "permitted",
    "reason",
    "request_id",
    "timestamp",
    "valid",
];

/// The name that older servers give to the token of an allow, with and without separators.
const DECISION_ID: [&str; 2] = ["decision_id", "decisionid"];

/// Names of members that hold secrets.
const SECRETS: [&str; 3] = ["key", "permit", "auth"];

/// Returns the parts, with this first letter, of the names of members that hold secrets, with and
/// without separators.
const fn parts_of_secrets(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &[
            "authorization",
            "assertion",
            "api_key",
            "apikey",
            "access_key",
            "accesskey",
        ],
        b'b' => &["bearer"],
        b'c' => &["credential", "cookie"],
        b'j' => jwt(first),
        b'n' => &["nonce"],
        b'p' => &["passw", "passphrase", "private_key", "privatekey"],
        b's' => &["secret", "signature", "session_id", "sessionid"],
        b't' => &["token"],
        _ => &[],
    }
}

/// Returns the part, with this first letter, of the names of tokens in every body.
const fn jwt(first: u8) -> &'static [&'static str] {
    match first {
        b'j' => &["jwt"],
        _ => &[],
    }
}

/// Returns the parts, with this first letter, of the names of approvals.
const fn parts_of_evidence(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["approval", "artifact"],
        b'o' => &["override"],
        b'p' => &["proof"],
        _ => &[],
    }
}

/// Whether a word contains one of the parts that a function returns for their first letters. One
/// pass over the word is enough, where a search for each part would take most of the client's time.
fn contains_part(word: &str, parts: fn(u8) -> &'static [&'static str]) -> bool {
    let word = word.as_bytes();
    word.iter().enumerate().any(|(at, first)| {
        let rest = word.get(at..).unwrap_or_default();
        let mut parts = parts(*first).iter();
        parts.any(|part| rest.starts_with(part.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn scalars(json: &str, kind: BodyKind) -> Vec<(Sensitivity, String)> {
        Scalars::new(json, kind)
            .map(|scalar| {
                (
                    scalar.sensitivity,
                    scalar.text.unwrap_or_default().into_owned(),
                )
            })
            .collect()
    }

    fn secrets(json: &str, kind: BodyKind) -> Vec<String> {
        let all = scalars(json, kind).into_iter();
        all.filter(|(sensitivity, _)| *sensitivity == Sensitivity::Secret)
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn every_scalar_is_found_where_it_stands() {
        let json = r#" {"result" : {"permit_token":"p\"1"},"ids":[7, -1.5e3],"t":true,"":null} "#;
        let found: Vec<_> = Scalars::new(json, BodyKind::Error).collect();
        let texts: Vec<_> = found
            .iter()
            .map(|scalar| (scalar.sensitivity, json.get(scalar.range.clone()).unwrap()))
            .collect();
        use Sensitivity::{Name, Public, Secret};
        assert_eq!(
            texts,
            [
                (Name, "\"result\""),
                (Name, "\"permit_token\""),
                (Secret, r#""p\"1""#),
                (Name, "\"ids\""),
                (Public, "7"),
                (Public, "-1.5e3"),
                (Name, "\"t\""),
                (Name, "\"\""),
            ]
        );
        let numbers = found.iter().filter(|scalar| scalar.is_number);
        assert_eq!(numbers.count(), 2);
        assert_eq!(found[2].text.as_deref(), Some("p\"1"));
    }

    #[test]
    fn a_name_covers_all_that_stands_below_it_and_nothing_beside_it() {
        let json = r#"{"tokens":["a",{"x":["b"]}],"y":"c","apiKey":{"v":1},"z":"d","per\u006dit_token":"e"}"#;
        assert_eq!(secrets(json, BodyKind::Error), ["a", "b", "1", "e"]);
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
            assert_eq!(
                sensitivity_of_member(name, BodyKind::Error),
                Sensitivity::Secret,
                "{name}"
            );
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
            assert_eq!(
                sensitivity_of_member(name, BodyKind::Error),
                Sensitivity::Public,
                "{name}"
            );
        }
        assert_eq!(
            sensitivity_of_member("decisionId", BodyKind::Success),
            Sensitivity::DecisionId
        );
    }

    #[test]
    fn a_name_that_is_known_to_be_public_is_public_by_its_parts_too() {
        for kind in [BodyKind::Request, BodyKind::Success, BodyKind::Error] {
            for name in PUBLIC_NAMES {
                assert_eq!(
                    sensitivity_of_word(name, kind),
                    Sensitivity::Public,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn an_answer_s_members_are_data_unless_they_are_tokens() {
        let json = r#"{"permit_token":"a","key_id":"b","signature":"c","token_type":"d","decision_id":"e","jwt":"f"}"#;
        assert_eq!(secrets(json, BodyKind::Success), ["a", "f"]);
        assert_eq!(secrets(json, BodyKind::Error), ["a", "c", "d", "e", "f"]);
    }

    #[test]
    fn an_approval_of_a_request_is_evidence_and_its_signature_a_secret() {
        let json = r#"{"action_type":"a","approval":{"approval_id":"b","artifact":{"nonce":"c"}}}"#;
        let found = scalars(json, BodyKind::Request);
        assert!(found.contains(&(Sensitivity::Evidence, "b".to_owned())));
        assert!(found.contains(&(Sensitivity::Secret, "c".to_owned())));
        assert!(found.contains(&(Sensitivity::Public, "a".to_owned())));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        let half: Vec<_> = Scalars::new(r#"{"\ud800":"x"}"#, BodyKind::Success).collect();
        assert_eq!(half[0].text, None);
        assert_eq!(half[1].sensitivity, Sensitivity::Secret);
    }

    proptest! {
        #[test]
        fn any_text_is_walked_without_panic(text in any::<String>(), soup in r#"["\\\{\}\[\]:,u0a -]{0,40}"#) {
            for json in [text, soup] {
                for scalar in Scalars::new(&json, BodyKind::Request) {
                    prop_assert!(json.get(scalar.range).is_some());
                }
            }
        }

        #[test]
        fn any_string_of_any_json_is_found(texts in prop::collection::vec(any::<String>(), 0..8)) {
            let json = Value::from(texts.clone()).to_string();
            let found: Vec<_> = Scalars::new(&json, BodyKind::Success).map(|scalar| scalar.text.unwrap().into_owned()).collect();
            prop_assert_eq!(found, texts);
        }
    }
}
