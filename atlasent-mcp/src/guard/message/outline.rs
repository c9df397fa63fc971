//! Finds out which request a text is about that cannot be read as a message.
//!
//! A response that is too long, or that two readers would understand differently, is not passed on.
//! The request that it answers gets an error instead, since nothing else answers it. The text is
//! read byte by byte, so that one of any length takes bounded memory:
//!
//! ```text
//! {"result":{"content":[…17 MiB…]},"jsonrpc":"2.0","id":7}
//!  ╰ a response                                     ╰ to the request 7
//! ```

use super::RequestId;

/// The most bytes of a name or of an id that are kept. The longest id, with each of its characters
/// escaped, has fewer.
const MAX_TOKEN: usize = 2 * 1024;

/// The members of a text that say what it is: an object with `jsonrpc` and an id.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    place: Place,
    /// The objects and arrays that are open.
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    /// The bytes of the current name, or of the value of `id`.
    token: Vec<u8>,
    name: Name,
    id: Option<RequestId>,
    has_id: bool,
    has_version: bool,
    has_method: bool,
    has_answer: bool,
}

/// Where the reader is in the outermost object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Name,
    Value,
    End,
    /// The text is no such object, or repeats its id.
    Broken,
}

/// The members of a message that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Name {
    Version,
    Id,
    Method,
    Answer,
    #[default]
    Other,
}

impl Outline {
    /// Reads a whole text.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut outline = Self::default();
        outline.extend(text);
        outline
    }

    /// Reads more of the text.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(*byte);
        }
    }

    /// Returns the id of the request that the text is.
    pub(crate) fn request(&self) -> Option<&RequestId> {
        let is_request = self.has_method && !self.has_answer;
        self.whole_id().filter(|_| is_request)
    }

    /// Returns the id of the request that the text answers.
    pub(crate) fn answered(&self) -> Option<&RequestId> {
        let is_answer = self.has_answer && !self.has_method;
        self.whole_id().filter(|_| is_answer)
    }

    /// Returns the id of a text that ended.
    fn whole_id(&self) -> Option<&RequestId> {
        let is_whole = self.place == Place::End && self.has_version;
        self.id.as_ref().filter(|_| is_whole)
    }

    fn push(&mut self, byte: u8) {
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            return self.keep(byte);
        }
        match (self.place, byte) {
            (Place::Start | Place::End, b' ' | b'\t' | b'\r' | b'\n') => {}
            (Place::Start, b'{') => {
                self.depth = 1;
                self.place = Place::Name;
            }
            (Place::Start | Place::End, _) => self.place = Place::Broken,
            (Place::Name, b':') if self.depth == 1 => {
                self.name = name(&std::mem::take(&mut self.token));
                self.place = Place::Value;
            }
            (Place::Value, b',') if self.depth == 1 => self.end_member(Place::Name),
            (Place::Value, b'}') if self.depth == 1 => self.end_member(Place::End),
            (_, b'{' | b'[') => {
                self.depth = self.depth.saturating_add(1);
                self.keep(byte);
            }
            (_, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                self.keep(byte);
            }
            _ => {
                self.is_in_string = byte == b'"';
                self.keep(byte);
            }
        }
    }

    /// Keeps a byte of a name or an id. One that is longer than any id is no id.
    fn keep(&mut self, byte: u8) {
        let is_kept =
            self.place == Place::Name || (self.place == Place::Value && self.name == Name::Id);
        if is_kept && self.token.len() < MAX_TOKEN {
            self.token.push(byte);
        }
    }

    fn end_member(&mut self, next: Place) {
        self.place = next;
        let value = std::mem::take(&mut self.token);
        match self.name {
            // Two readers would take the text for the answers of two requests.
            Name::Id if self.has_id => self.place = Place::Broken,
            Name::Id => {
                self.has_id = true;
                let text = std::str::from_utf8(value.trim_ascii()).ok();
                self.id = text.and_then(RequestId::parse);
            }
            Name::Version => self.has_version = true,
            Name::Method => self.has_method = true,
            Name::Answer => self.has_answer = true,
            Name::Other => {}
        }
    }
}

fn name(json: &[u8]) -> Name {
    match serde_json::from_slice::<String>(json).as_deref() {
        Ok("jsonrpc") => Name::Version,
        Ok("id") => Name::Id,
        Ok("method") => Name::Method,
        Ok("result" | "error") => Name::Answer,
        _ => Name::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Kind, Message};
    use super::*;

    fn number(id: i64) -> RequestId {
        RequestId::Number(id)
    }

    #[test]
    fn the_request_that_a_text_answers_is_found_wherever_its_id_is() {
        for (text, answered) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, Some(number(7))),
            (
                r#" { "result" : {} , "jsonrpc" : "2.0" , "id" : 7 } "#,
                Some(number(7)),
            ),
            (
                r#"{"\u0069d":7,"jsonrpc":"2.0","error":null,"result":{}}"#,
                Some(number(7)),
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"result":{},"result":{}}"#,
                Some(number(7)),
            ),
            (
                r#"{"jsonrpc":"2.0","result":{"text":"\"id\":1,\\","id":2},"x":[{"id":3}],"id":"a"}"#,
                Some(RequestId::Text("a".into())),
            ),
            // No response, no whole text, or an id that two readers read differently.
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, None),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#,
                None,
            ),
            (
                r#"{"level":"info","id":7,"error":"a log on standard output"}"#,
                None,
            ),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}"#, None),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}} x"#, None),
            (r#"{"jsonrpc":"2.0","id":7,"id":8,"result":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":7.0,"result":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, None),
            (r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#, None),
            ("", None),
        ] {
            assert_eq!(
                Outline::of(text.as_bytes()).answered().cloned(),
                answered,
                "{text}"
            );
        }
        let long = format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#,
            "1".repeat(MAX_TOKEN)
        );
        assert_eq!(Outline::of(long.as_bytes()).answered(), None);
    }

    #[test]
    fn an_outline_says_of_a_message_what_its_envelope_says() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"id":2}}}"#,
            r#"{"jsonrpc":"2.0","id":"x\u0041","result":{"id":2}}"#,
            r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        ] {
            let message = Message::parse(text).unwrap();
            let outline = Outline::of(text.as_bytes());
            let (request, answered) = match message.kind() {
                Kind::Request { id, .. } => (Some(id), None),
                Kind::Result { id } | Kind::Error { id: Some(id) } => (None, Some(id)),
                _ => (None, None),
            };
            assert_eq!(
                (outline.request(), outline.answered()),
                (request, answered),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_an_outline_panic_or_grow(text in r#"[{}\[\]",:\\ id0x]{0,200}"#, cut in 0usize..200) {
            let bytes = text.as_bytes();
            let (one, other) = bytes.split_at(cut.min(bytes.len()));
            let mut outline = Outline::of(one);
            outline.extend(other);
            let whole = Outline::of(bytes);
            prop_assert_eq!(outline.answered(), whole.answered());
            prop_assert!(outline.token.len() <= MAX_TOKEN);
        }
    }
}
