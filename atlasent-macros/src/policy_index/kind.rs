//! The types of values, as the index writes them.

use std::fmt;

/// A key of a context, or of a record inside of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeclaredKey {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Long,
    String,
    Decimal,
    Ipaddr,
    Datetime,
    Duration,
    Set(Box<Kind>),
    Record(RecordKind),
    /// A record with too many keys for an index. Its keys are unknown.
    LargeRecord,
    Entity(String),
}

/// The type of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordKind {
    pub(super) keys: Vec<DeclaredKey>,
    /// Tells records apart: a hash of the text of the keys and types.
    pub(super) shape: u64,
}

/// How many keys of a record a message shows.
const SHOWN_KEYS: usize = 4;

impl Kind {
    /// Parses the text of a type.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let kind = Self::read(&mut rest)?;
        rest.is_empty().then_some(kind)
    }

    /// Reads the type at the start of `rest`, and leaves what follows it.
    fn read(rest: &mut &str) -> Option<Self> {
        if rest.starts_with('{') {
            return RecordKind::read(rest).map(Self::Record);
        }
        let end = rest.find(['<', '>', ',', '}']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        *rest = after;
        Some(match word {
            "Bool" => Self::Bool,
            "Long" => Self::Long,
            "String" => Self::String,
            "decimal" => Self::Decimal,
            "ipaddr" => Self::Ipaddr,
            "datetime" => Self::Datetime,
            "duration" => Self::Duration,
            "LargeRecord" => Self::LargeRecord,
            "Set" => {
                skip(rest, '<')?;
                let element = Self::read(rest)?;
                skip(rest, '>')?;
                Self::Set(Box::new(element))
            }
            "Entity" => {
                skip(rest, '<')?;
                let (name, after) = rest.split_once('>')?;
                *rest = after;
                Self::Entity(name.to_owned())
            }
            _ => return None,
        })
    }
}

impl RecordKind {
    /// Reads `{ip:ipaddr,port?:Long}`.
    fn read(rest: &mut &str) -> Option<Self> {
        let start = *rest;
        skip(rest, '{')?;
        let mut keys = Vec::new();
        while !rest.starts_with('}') {
            if !keys.is_empty() {
                skip(rest, ',')?;
            }
            let (name, after) = rest.split_once(':')?;
            *rest = after;
            let required = name.strip_suffix('?');
            keys.push(DeclaredKey {
                name: decode(required.unwrap_or(name))?,
                kind: Kind::read(rest)?,
                is_required: required.is_none(),
            });
        }
        skip(rest, '}')?;
        let text = start.strip_suffix(*rest)?;
        let shape = fnv(text);
        Some(Self { keys, shape })
    }
}

fn skip(rest: &mut &str, expected: char) -> Option<()> {
    *rest = rest.strip_prefix(expected)?;
    Some(())
}

/// Returns the name that `percent` encodes: `the%20ip` is `the ip`.
fn decode(percent: &str) -> Option<String> {
    let mut parts = percent.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Returns the hash of a text: FNV-1a with 64 bits. It has to be the same in every process that
/// expands macros of a crate.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// As a schema writes it.
impl fmt::Display for DeclaredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_required { "" } else { "?" };
        write!(f, "{}{mark}: {}", self.name, self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("Bool"),
            Self::Long => f.write_str("Long"),
            Self::String => f.write_str("String"),
            Self::Decimal => f.write_str("decimal"),
            Self::Ipaddr => f.write_str("ipaddr"),
            Self::Datetime => f.write_str("datetime"),
            Self::Duration => f.write_str("duration"),
            Self::Set(element) => write!(f, "Set<{element}>"),
            Self::Record(record) => write!(f, "{record}"),
            Self::LargeRecord => f.write_str("a record"),
            Self::Entity(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keys.as_slice() {
            [] => f.write_str("{}"),
            keys if keys.len() > SHOWN_KEYS => f.write_str("a record"),
            keys => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                write!(f, "{{ {} }}", keys.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_what_its_text_says() {
        for shown in ["Bool", "Set<Set<Long>>", "{}"] {
            assert_eq!(Kind::parse(shown).unwrap().to_string(), shown);
        }
        let text = "Set<{geo:{the%20%c3%bc?:Set<{}>},team:Entity<Bank::Team>}>";
        assert_eq!(
            Kind::parse(text).unwrap().to_string(),
            "Set<{ geo: { the ü?: Set<{}> }, team: Bank::Team }>"
        );
        for wrong in [
            "",
            "Text",
            "Set",
            "Set<Long",
            "Set<Long>>",
            "{a}",
            "{a:}",
            "{a:Long",
            "{a:Long}}",
            "{%f:Long}",
        ] {
            assert_eq!(Kind::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn records_have_one_shape_if_they_have_the_same_keys_and_types() {
        let shape = |text: &str| match Kind::parse(text).unwrap() {
            Kind::Record(record) => record.shape,
            other => panic!("{other}"),
        };
        assert_eq!(shape("{a:Long}"), 0xbbfb_e01e_7840_82f6);
        for other in ["{}", "{b:Long}", "{a?:Long}", "{a:String}", "{a:Set<Long>}"] {
            assert_ne!(shape(other), shape("{a:Long}"), "{other}");
        }
        let nested = Kind::parse("{inner:{a:Long},z:Bool}").unwrap();
        let Kind::Record(record) = nested else {
            panic!("{nested}");
        };
        assert_eq!(record.keys[0].kind, Kind::parse("{a:Long}").unwrap());
    }
}
