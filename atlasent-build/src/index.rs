//! Writes the index that the macros read: the declared actions, their context keys and their types.
//!
//! ```text
//! atlasent-policy-index 1             the format and its version
//! schema 5e0c…                        the digest of the schema
//! folder policies
//! enum Colour dark blue               an id of an entity type that is an `enum`
//! action deploy.production
//! doc Rolls a commit out.             of the action or the key above
//! required Long replicas              a key of the action above
//! optional Set<String> tags
//! ```
//!
//! The last word of a line is the rest of the line, with `\\`, `\n` and `\r` escaped. Types have no
//! blanks: `Bool`, `Long`, `String`, `decimal`, `ipaddr`, `datetime`, `duration`, `Set<type>`,
//! `Entity<type>`, and records as `{ip:ipaddr,the%20port?:Long}`, where `?` marks an optional key and
//! `%` encodes a byte. A record with more than 1,000 keys, counting those of the records inside, is
//! `LargeRecord`. `atlasent-macros/src/policy_index/mod.rs` parses the format.

use std::fmt::Write as _;
use std::path::Path;

use atlasent_authority::Policies;
use atlasent_authority::policy::{AttributeType, RecordDescription};

/// The first line.
const HEADER: &str = "atlasent-policy-index 1";

/// How many keys a record has at most, counting those of the records inside. Types that are made of
/// each other can be exponentially large when they are written out.
const MAX_KEYS: usize = 1000;

/// Returns the index, or `None` for policies without a schema.
pub(crate) fn write(policies: &Policies, folder: &Path) -> Option<String> {
    let digest = policies.schema_digest()?;
    let folder = escaped(&folder.display().to_string());
    let mut index = format!("{HEADER}\nschema {digest}\nfolder {folder}\n");
    let mut line = |first: &str, rest: &str| {
        let _ = writeln!(index, "{first} {}", escaped(rest));
    };
    for (entity, ids) in policies.listed_entities() {
        for id in ids {
            line(&format!("enum {entity}"), id);
        }
    }
    for action in policies.actions() {
        line("action", action.name());
        if let Some(doc) = action.doc() {
            line("doc", doc);
        }
        for attribute in action.context().attributes() {
            let presence = match attribute.is_required() {
                true => "required",
                false => "optional",
            };
            let kind = type_text(&attribute.attribute_type());
            line(&format!("{presence} {kind}"), attribute.name());
            if let Some(doc) = attribute.doc() {
                line("doc", doc);
            }
        }
    }
    Some(index)
}

/// Returns whether a type has more keys than the index writes down.
pub(crate) fn is_large(kind: &AttributeType<'_>) -> bool {
    type_text(kind).contains("LargeRecord")
}

/// Returns the text of a type.
fn type_text(kind: &AttributeType<'_>) -> String {
    let (mut text, mut keys) = (String::new(), MAX_KEYS);
    match write_type(kind, &mut keys, &mut text) {
        Some(()) => text,
        None => large(kind),
    }
}

/// Writes the text of a type. Returns `None` when records use up the number of `keys`.
fn write_type(kind: &AttributeType<'_>, keys: &mut usize, text: &mut String) -> Option<()> {
    let name = match kind {
        AttributeType::Bool => "Bool",
        AttributeType::Long => "Long",
        AttributeType::Text => "String",
        AttributeType::Decimal => "decimal",
        AttributeType::Ipaddr => "ipaddr",
        AttributeType::Datetime => "datetime",
        AttributeType::TimeSpan => "duration",
        AttributeType::Entity(name) => {
            let _ = write!(text, "Entity<{name}>");
            return Some(());
        }
        AttributeType::Set(set) => {
            text.push_str("Set<");
            write_type(&set.element(), keys, text)?;
            ">"
        }
        AttributeType::Record(record) => return write_record(*record, keys, text),
        // A type of a later version.
        _ => return None,
    };
    text.push_str(name);
    Some(())
}

fn write_record(record: RecordDescription<'_>, keys: &mut usize, text: &mut String) -> Option<()> {
    text.push('{');
    for (place, attribute) in record.attributes().enumerate() {
        *keys = keys.checked_sub(1)?;
        if place > 0 {
            text.push(',');
        }
        for byte in attribute.name().bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => text.push(char::from(byte)),
                other => {
                    let _ = write!(text, "%{other:02x}");
                }
            }
        }
        text.push_str(if attribute.is_required() { ":" } else { "?:" });
        write_type(&attribute.attribute_type(), keys, text)?;
    }
    text.push('}');
    Some(())
}

/// Returns the text of a type whose record is too large.
fn large(kind: &AttributeType<'_>) -> String {
    match kind {
        AttributeType::Set(set) => format!("Set<{}>", large(&set.element())),
        _ => "LargeRecord".to_owned(),
    }
}

/// Returns the text on one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}
