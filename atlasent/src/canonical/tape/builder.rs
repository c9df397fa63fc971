//! Reads a JSON text into a [`Tape`], in one pass and without recursion.
//!
//! # Example
//!
//! The text is `{"b":[1, 2],"a":3}`. [`TapeBuilder`] reads the bytes once, with a stack of the
//! containers that are not closed yet:
//!
//! ```text
//! reads    unclosed   what happens
//! {        0          pushes node 0 (Object); the next string is a key
//! "b"      0          pushes node 1; it is the first key, so nothing to compare
//! [        0 2        pushes node 2 (Array)
//! 1        0 2        pushes node 3
//! ,        0 2
//! space    0 2        marks container 2 as NOT_COMPACT
//! 2        0 2        pushes node 4
//! ]        0          closes node 2: end 11, next 5; its flags pass to container 0
//! ,        0          the next string is a key again
//! "a"      0          pushes node 5; "a" sorts before "b", so container 0 is unsorted
//! 3        0          pushes node 6
//! }                   closes node 0: end 18, next 7; since the keys are unsorted, one may be repeated: checks
//! ```

use std::ops::Range;

use super::{Flags, Kind, Node, Tape, prefix, unescape};
use crate::canonical::number::python_spelling;

/// Reads a JSON text into a tape.
pub(super) struct TapeBuilder<'a> {
    tape: Tape<'a>,
    /// The containers around the current byte, outermost first.
    unclosed: Vec<UnclosedContainer>,
}

/// An array or object whose closing bracket has not been read yet.
struct UnclosedContainer {
    node: usize,
    flags: Flags,
    is_object: bool,
    /// Whether the next string is a key.
    key_next: bool,
    /// Whether a key is equal to the key before it, or sorts before it.
    unsorted: bool,
    /// The node of the last key, and its [`prefix`].
    last_key: Option<(usize, u64)>,
}

impl<'a> TapeBuilder<'a> {
    /// Creates a builder for an empty tape.
    pub(super) fn new(tape: Tape<'a>) -> Self {
        let unclosed = Vec::new();
        Self { tape, unclosed }
    }

    /// Reads the text to its end.
    pub(super) fn run(mut self) -> Tape<'a> {
        let bytes = self.tape.text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at = match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.mark_container(Flags::NOT_COMPACT);
                    let rest = bytes.get(at..).unwrap_or_default();
                    at + rest.iter().take_while(|byte| is_space(**byte)).count()
                }
                b',' => {
                    if let Some(container) = self.unclosed.last_mut() {
                        container.key_next = container.is_object;
                    }
                    at + 1
                }
                b':' => at + 1,
                b'{' => self.begin(at, Kind::Object),
                b'[' => self.begin(at, Kind::Array),
                b'}' | b']' => self.end(at + 1),
                b'"' => self.string(at),
                _ => self.scalar(at, *byte),
            };
        }
        self.tape
    }

    fn begin(&mut self, at: usize, kind: Kind) -> usize {
        self.unclosed.push(UnclosedContainer {
            node: self.tape.nodes.len(),
            flags: Flags::default(),
            is_object: kind == Kind::Object,
            key_next: kind == Kind::Object,
            unsorted: false,
            last_key: None,
        });
        self.tape.depth = self.tape.depth.max(self.unclosed.len());
        self.push(at..at, kind, Flags::default());
        at + 1
    }

    fn end(&mut self, at: usize) -> usize {
        let Some(container) = self.unclosed.pop() else {
            return at;
        };
        let next = self.tape.nodes.len();
        if let Some(node) = self.tape.nodes.get_mut(container.node) {
            node.end = at;
            node.next = next;
        }
        let mut flags = container.flags;
        // Keys in strictly ascending order cannot repeat.
        if container.unsorted {
            flags = flags.with(Flags::UNSORTED);
            if self.tape.repeats_key(container.node) {
                flags = flags.with(Flags::REPEATED_KEY).with(Flags::NOT_COMPACT);
            }
        }
        self.mark(container.node, flags);
        at
    }

    fn string(&mut self, start: usize) -> usize {
        let (end, escaped) = string_end(self.tape.text.as_bytes(), start + 1);
        let node = self.tape.nodes.len();
        self.push(start..end, Kind::String, Flags::default());
        if escaped {
            let text = self.tape.text(node);
            // `"\n"` is written again as `"\n"`, but `"\u0041"` as `"A"`: not compact.
            let flags = match unescape(text).map(|string| serde_json::to_string(&string)) {
                Some(Ok(again)) if again == text => Flags::default(),
                Some(_) => Flags::NOT_COMPACT,
                None => Flags::NOT_COMPACT.with(Flags::LONE_SURROGATE),
            };
            self.mark(node, flags.with(Flags::ESCAPED));
        }
        self.compare_key(node);
        end
    }

    fn scalar(&mut self, start: usize, first: u8) -> usize {
        let rest = self.tape.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}') || is_space(*byte));
        let end = start + length.unwrap_or(rest.len()).max(1);
        let kind = match first {
            b'n' => Kind::Null,
            b't' => Kind::True,
            b'f' => Kind::False,
            _ => Kind::Number,
        };
        let node = self.tape.nodes.len();
        self.push(start..end, kind, Flags::default());
        if kind == Kind::Number && python_spelling(self.tape.text(node)).is_some() {
            self.mark(node, Flags::RESPELLED);
        }
        end
    }

    fn push(&mut self, span: Range<usize>, kind: Kind, flags: Flags) {
        let next = self.tape.nodes.len() + 1;
        self.tape.nodes.push(Node {
            start: span.start,
            end: span.end,
            next,
            kind,
            flags,
        });
    }

    fn mark(&mut self, node: usize, flags: Flags) {
        if let Some(node) = self.tape.nodes.get_mut(node) {
            node.flags = flags;
        }
        self.mark_container(flags);
    }

    /// Adds flags to the innermost container. Closing it passes them on to the next one outside.
    fn mark_container(&mut self, flags: Flags) {
        if let Some(container) = self.unclosed.last_mut() {
            container.flags = container.flags.with(flags);
        }
    }

    /// If this string is a key, notes whether it sorts after the last key of its object.
    fn compare_key(&mut self, node: usize) {
        let Some(container) = self.unclosed.last_mut() else {
            return;
        };
        if !std::mem::take(&mut container.key_next) {
            return;
        }
        let key = self.tape.string(node);
        let new = prefix(&key);
        if let Some((last_key, last)) = container.last_key.replace((node, new)) {
            container.unsorted |= last > new || (last == new && self.tape.string(last_key) >= key);
        }
    }
}

/// Whether a byte is white space in JSON (RFC 8259, section 2).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns the end of the string whose contents begin at `at`, behind its closing quote, and
/// whether it contains an escape.
///
/// In `"a\"b",` with `at` 1, the first stop is the backslash at 2: it and the quote it escapes are
/// skipped, to 4. The next stop is the quote at 5, so the result is `(6, true)`.
fn string_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut escaped = false;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let stop = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        match stop.and_then(|stop| Some((stop, rest.get(stop)?))) {
            Some((stop, b'"')) => return (at + stop + 1, escaped),
            Some((stop, _)) => {
                escaped = true;
                at += stop + 2;
            }
            None => return (bytes.len(), escaped),
        }
    }
}
