//! A JSON text as a flat list of its values, so that no depth of nesting can exhaust the stack.

use std::borrow::Cow;
use std::ops::Range;

use super::number::python_spelling;

/// The values of one JSON text, in the order in which they begin.
///
/// The text must be valid JSON: `serde_json` sees to that before. Other text gives a tape of no
/// meaning, but no panic.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    text: &'a str,
    nodes: Vec<Node>,
    depth: usize,
}

/// One value, or the key of one.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: usize,
    end: usize,
    /// The first node that is not inside of this one.
    next: usize,
    kind: Kind,
    flags: Flags,
}

/// What a value is.
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

/// In what a text differs from the forms that are hashed. A container has its own flags and those
/// of all that is inside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// There is white space, a needless escape, or a key that stands twice.
    pub(super) const LOOSE: Self = Self(1);
    /// The keys are not in canonical order.
    pub(super) const UNSORTED: Self = Self(2);
    /// Python spells a number in another way.
    pub(super) const RESPELLED: Self = Self(4);
    /// A key stands twice in one object.
    pub(super) const REPEATED: Self = Self(8);
    /// A string holds half of a surrogate pair, which is no character.
    pub(super) const HALVED: Self = Self(16);
    /// A string has an escape in it.
    const ESCAPED: Self = Self(32);

    pub(super) fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl<'a> Tape<'a> {
    /// The value that is the whole text.
    pub(crate) const ROOT: usize = 0;

    pub(crate) fn of(text: &'a str) -> Self {
        let tape = Self {
            text,
            nodes: Vec::with_capacity(text.len() / 12 + 1),
            depth: 0,
        };
        Builder {
            tape,
            open: Vec::new(),
        }
        .run()
    }

    /// How deep the arrays and objects are nested.
    #[cfg(feature = "audit")]
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn kind(&self, node: usize) -> Option<Kind> {
        self.nodes.get(node).map(|node| node.kind)
    }

    /// The text of a value as it was written.
    pub(crate) fn text(&self, node: usize) -> &'a str {
        self.nodes
            .get(node)
            .and_then(|node| self.text.get(node.start..node.end))
            .unwrap_or_default()
    }

    /// The characters of a string. Half a surrogate pair is replaced: see
    /// [`is_halved`](Self::is_halved).
    pub(crate) fn string(&self, node: usize) -> Cow<'a, str> {
        if self.flags(node).has_any(Flags::ESCAPED) {
            let string = unescape(self.text(node));
            return Cow::Owned(string.unwrap_or_else(|| char::REPLACEMENT_CHARACTER.into()));
        }
        let inner = (self.nodes.get(node))
            .and_then(|node| self.text.get(node.start + 1..node.end.saturating_sub(1)));
        Cow::Borrowed(inner.unwrap_or_default())
    }

    /// Whether a string holds half a surrogate pair.
    #[cfg(feature = "audit")]
    pub(crate) fn is_halved(&self) -> bool {
        self.flags(Self::ROOT).has_any(Flags::HALVED)
    }

    /// Whether an object has a key twice.
    pub(crate) fn has_repeated_keys(&self) -> bool {
        self.flags(Self::ROOT).has_any(Flags::REPEATED)
    }

    /// Whether Python spells a number within in another way.
    #[cfg(feature = "audit")]
    pub(crate) fn is_respelled(&self, node: usize) -> bool {
        self.flags(node).has_any(Flags::RESPELLED)
    }

    /// The keys and values of an object, as they stand.
    pub(crate) fn members(&self, object: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut nodes = self.items(object);
        std::iter::from_fn(move || Some((nodes.next()?, nodes.next()?)))
    }

    /// The nodes right inside of a container.
    pub(crate) fn items(&self, container: usize) -> impl Iterator<Item = usize> {
        let end = self.next(container);
        let mut at = container + 1;
        std::iter::from_fn(move || {
            let item = at;
            at = self.next(item);
            (item < end).then_some(item)
        })
    }

    fn repeats_a_key(&self, object: usize) -> bool {
        // Most objects are small, and their keys differ in length or in how they begin.
        let mut marks = [(0, 0); 32];
        for (count, (key, _)) in self.members(object).enumerate() {
            let key = self.string(key);
            let mark = (prefix(&key), key.len());
            let seen = marks
                .get(..count)
                .is_none_or(|before| before.contains(&mark));
            match marks.get_mut(count) {
                Some(place) if !seen => *place = mark,
                _ => return self.repeats_any_key(object),
            }
        }
        false
    }

    fn repeats_any_key(&self, object: usize) -> bool {
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

/// The beginning of a string as a number: two strings are in the order of these, where they differ.
pub(super) fn prefix(string: &str) -> u64 {
    let bytes = string.as_bytes();
    if let Some(whole) = bytes.first_chunk() {
        return u64::from_be_bytes(*whole);
    }
    let mut prefix = [0; 8];
    for (place, byte) in prefix.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u64::from_be_bytes(prefix)
}

/// The characters of a JSON string, quotes included. None when half a surrogate pair is among them.
fn unescape(string: &str) -> Option<String> {
    serde_json::from_str(string).ok()
}

struct Builder<'a> {
    tape: Tape<'a>,
    open: Vec<Open>,
}

/// An array or object whose end was not seen yet.
struct Open {
    node: usize,
    flags: Flags,
    is_object: bool,
    /// The next string is a key.
    key_next: bool,
    /// A key did not come after the one before.
    unsorted: bool,
    /// The key before, and its [`prefix`].
    last_key: Option<(usize, u64)>,
}

impl<'a> Builder<'a> {
    fn run(mut self) -> Tape<'a> {
        let bytes = self.tape.text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at = match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.inherit(Flags::LOOSE);
                    let rest = bytes.get(at..).unwrap_or_default();
                    at + rest.iter().take_while(|byte| is_space(**byte)).count()
                }
                b',' => {
                    if let Some(open) = self.open.last_mut() {
                        open.key_next = open.is_object;
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
        self.open.push(Open {
            node: self.tape.nodes.len(),
            flags: Flags::default(),
            is_object: kind == Kind::Object,
            key_next: kind == Kind::Object,
            unsorted: false,
            last_key: None,
        });
        self.tape.depth = self.tape.depth.max(self.open.len());
        self.push(at..at, kind, Flags::default());
        at + 1
    }

    fn end(&mut self, at: usize) -> usize {
        let Some(open) = self.open.pop() else {
            return at;
        };
        let next = self.tape.nodes.len();
        if let Some(container) = self.tape.nodes.get_mut(open.node) {
            container.end = at;
            container.next = next;
        }
        let mut flags = open.flags;
        if open.unsorted {
            flags = flags.with(Flags::UNSORTED);
            if self.tape.repeats_a_key(open.node) {
                flags = flags.with(Flags::REPEATED).with(Flags::LOOSE);
            }
        }
        self.mark(open.node, flags);
        at
    }

    fn string(&mut self, start: usize) -> usize {
        let (end, escaped) = string_end(self.tape.text.as_bytes(), start + 1);
        let node = self.tape.nodes.len();
        self.push(start..end, Kind::String, Flags::default());
        if escaped {
            let text = self.tape.text(node);
            let flags = match unescape(text).map(|string| serde_json::to_string(&string)) {
                Some(Ok(again)) if again == text => Flags::default(),
                Some(_) => Flags::LOOSE,
                None => Flags::LOOSE.with(Flags::HALVED),
            };
            self.mark(node, flags.with(Flags::ESCAPED));
        }
        self.order(node);
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
        self.inherit(flags);
    }

    /// What is true of a part is true of the whole.
    fn inherit(&mut self, flags: Flags) {
        if let Some(open) = self.open.last_mut() {
            open.flags = open.flags.with(flags);
        }
    }

    /// If this string is a key, notes whether it comes after the key before.
    fn order(&mut self, node: usize) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        if !std::mem::take(&mut open.key_next) {
            return;
        }
        let key = self.tape.string(node);
        let begins = prefix(&key);
        if let Some((last, began)) = open.last_key.replace((node, begins)) {
            open.unsorted |= began > begins || (began == begins && self.tape.string(last) >= key);
        }
    }
}

/// White space, as JSON has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where the string that begins at `at` ends, its closing quote included, and whether there is an
/// escape in it.
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
