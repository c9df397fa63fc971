//! A JSON text as a flat list of its values, so that no depth of nesting can exhaust the stack.
//!
//! # Example
//!
//! The text `{"b":[1, 2],"a":3}` becomes seven nodes, in the order in which they begin. `next` is
//! the first node that is not inside the node, so a walk over the items of a container jumps over
//! their contents:
//!
//! ```text
//! node  span    text             kind    next  flags
//! 0     0..18   the whole text   Object  7     NOT_COMPACT, UNSORTED
//! 1     1..4    "b"              String  2     (key)
//! 2     5..11   [1, 2]           Array   5     NOT_COMPACT
//! 3     6..7    1                Number  4
//! 4     9..10   2                Number  5
//! 5     12..15  "a"              String  6     (key)
//! 6     16..17  3                Number  7
//! ```
//!
//! [`TapeBuilder`] reads the bytes once, with a stack of the containers that are not closed yet:
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
//!
//! The flags of a container include those of everything inside it. So `NOT_COMPACT` on node 0 tells
//! that its text cannot be hashed as it stands, and the absence of flags on a node tells that it
//! can, without looking inside.

use std::borrow::Cow;
use std::ops::Range;

use super::number::python_spelling;

/// The values of one JSON text, in the order in which they begin.
///
/// The text must be valid JSON: callers check it with `serde_json` first. The tape of invalid JSON
/// is meaningless, but parsing it does not panic.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    text: &'a str,
    nodes: Vec<Node>,
    depth: usize,
}

/// A value, or the key of a member.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: usize,
    end: usize,
    /// The first node that is not inside this one.
    next: usize,
    kind: Kind,
    flags: Flags,
}

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// How a text differs from the forms that are hashed. The flags of a container include those of
/// everything inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// The text has white space, a needless escape, or a repeated key.
    pub(super) const NOT_COMPACT: Self = Self(1);
    /// The keys are not in canonical order.
    pub(super) const UNSORTED: Self = Self(2);
    /// Python spells a number differently.
    pub(super) const RESPELLED: Self = Self(4);
    /// An object has the same key twice.
    pub(super) const REPEATED_KEY: Self = Self(8);
    /// A string holds half of a surrogate pair, which is not a character.
    pub(super) const LONE_SURROGATE: Self = Self(16);
    /// A string contains an escape.
    const ESCAPED: Self = Self(32);

    pub(super) fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl<'a> Tape<'a> {
    /// The node of the whole text.
    pub(crate) const ROOT: usize = 0;

    /// Lists the values of a JSON text.
    pub(crate) fn parse(text: &'a str) -> Self {
        let tape = Self {
            text,
            nodes: Vec::with_capacity(text.len() / 12 + 1),
            depth: 0,
        };
        let unclosed = Vec::new();
        TapeBuilder { tape, unclosed }.run()
    }

    /// Returns how deep the arrays and objects are nested.
    #[cfg(feature = "audit")]
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn kind(&self, node: usize) -> Option<Kind> {
        self.nodes.get(node).map(|node| node.kind)
    }

    /// Returns the text of a value as it was written.
    pub(crate) fn text(&self, node: usize) -> &'a str {
        self.nodes
            .get(node)
            .and_then(|node| self.text.get(node.start..node.end))
            .unwrap_or_default()
    }

    /// Returns the characters of a string. A string with half a surrogate pair becomes U+FFFD: see
    /// `has_lone_surrogate`.
    pub(crate) fn string(&self, node: usize) -> Cow<'a, str> {
        if self.flags(node).has_any(Flags::ESCAPED) {
            let string = unescape(self.text(node));
            return Cow::Owned(string.unwrap_or_else(|| char::REPLACEMENT_CHARACTER.into()));
        }
        let inner = (self.nodes.get(node))
            .and_then(|node| self.text.get(node.start + 1..node.end.saturating_sub(1)));
        Cow::Borrowed(inner.unwrap_or_default())
    }

    /// Whether any string holds half a surrogate pair.
    #[cfg(feature = "audit")]
    pub(crate) fn has_lone_surrogate(&self) -> bool {
        self.flags(Self::ROOT).has_any(Flags::LONE_SURROGATE)
    }

    /// Whether any object repeats a key.
    pub(crate) fn has_repeated_keys(&self) -> bool {
        self.flags(Self::ROOT).has_any(Flags::REPEATED_KEY)
    }

    /// Whether Python spells this number, or a number inside this value, differently.
    #[cfg(feature = "audit")]
    pub(crate) fn is_respelled(&self, node: usize) -> bool {
        self.flags(node).has_any(Flags::RESPELLED)
    }

    /// Returns the keys and values of an object, in the order of the text.
    pub(crate) fn members(&self, object: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut nodes = self.items(object);
        std::iter::from_fn(move || Some((nodes.next()?, nodes.next()?)))
    }

    /// Returns the direct children of a container. In an object, keys and values alternate.
    pub(crate) fn items(&self, container: usize) -> impl Iterator<Item = usize> {
        let end = self.next(container);
        let mut at = container + 1;
        std::iter::from_fn(move || {
            let item = at;
            at = self.next(item);
            (item < end).then_some(item)
        })
    }

    /// Whether an object repeats a key.
    ///
    /// Most objects are small, and their keys differ in length or in their first 8 bytes. So each
    /// key's prefix and length are compared first, without memory from the heap. Two equal pairs,
    /// or more than 32 keys, need the full comparison.
    fn repeats_key(&self, object: usize) -> bool {
        let mut fingerprints = [(0, 0); 32];
        for (count, (key, _)) in self.members(object).enumerate() {
            let key = self.string(key);
            let fingerprint = (prefix(&key), key.len());
            let seen = fingerprints
                .get(..count)
                .is_none_or(|before| before.contains(&fingerprint));
            match fingerprints.get_mut(count) {
                Some(free) if !seen => *free = fingerprint,
                _ => return self.repeats_key_by_sorting(object),
            }
        }
        false
    }

    /// Whether an object repeats a key, by sorting its keys: equal keys become neighbors.
    fn repeats_key_by_sorting(&self, object: usize) -> bool {
        let keys = self.members(object).map(|(key, _)| self.string(key));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        keys.windows(2)
            .any(|pair| matches!(pair, [one, other] if one == other))
    }

    pub(super) fn flags(&self, node: usize) -> Flags {
        self.nodes
            .get(node)
            .map_or(Flags::default(), |node| node.flags)
    }

    fn next(&self, node: usize) -> usize {
        self.nodes
            .get(node)
            .map_or(self.nodes.len(), |node| node.next)
    }
}

/// Returns the first 8 bytes of a string as a big-endian number, padded with zeros: `"b"` becomes
/// `0x6200000000000000`. If the numbers of two strings differ, the strings are in the same order.
pub(super) fn prefix(string: &str) -> u64 {
    let bytes = string.as_bytes();
    if let Some(whole) = bytes.first_chunk() {
        return u64::from_be_bytes(*whole);
    }
    let mut prefix = [0; 8];
    for (target, byte) in prefix.iter_mut().zip(bytes) {
        *target = *byte;
    }
    u64::from_be_bytes(prefix)
}

/// Returns the characters of a quoted JSON string. `None` if it contains half a surrogate pair.
fn unescape(string: &str) -> Option<String> {
    serde_json::from_str(string).ok()
}

struct TapeBuilder<'a> {
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
    fn run(mut self) -> Tape<'a> {
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
