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
//! The flags of a container include those of everything inside it. So `NOT_COMPACT` on node 0 tells
//! that its text cannot be hashed as it stands, and the absence of flags on a node tells that it
//! can, without looking inside.

mod builder;

use std::borrow::Cow;

use builder::TapeBuilder;

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
        TapeBuilder::new(tape).run()
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
